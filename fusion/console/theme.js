/** Light, dark, or as the system has it. */

const STORED = "fusion-theme";
const THEMES = ["auto", "light", "dark"];

export const theme = () => localStorage.getItem(STORED) ?? "auto";

export const nextTheme = () => THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length];

export function setTheme(name) {
  localStorage.setItem(STORED, name);
  document.documentElement.dataset.theme = name;
}
