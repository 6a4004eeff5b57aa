/** Numbers and times in the language of the page. */

import {language, t} from "./i18n.js";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
const STEPS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

const made = new Map();

/** Intl's formatters take long to make: each is made once. */
function formatter(kind, options) {
  const name = `${language()} ${kind} ${JSON.stringify(options)}`;
  if (!made.has(name)) made.set(name, new Intl[kind](language(), options));
  return made.get(name);
}

export const count = number => formatter("NumberFormat", {maximumFractionDigits: 0}).format(number);

export const compact = number => number < 10_000 ? decimal(number)
  : formatter("NumberFormat", {notation: "compact", maximumSignificantDigits: 3}).format(number);

export const decimal = number => formatter("NumberFormat", {maximumSignificantDigits: number < 100 ? 2 : 3}).format(number);

const LEAST_SHARE = 0.0005;

/** "0.1%" is the least that is told; anything below it, but for nothing at all, is less than that. */
export const percent = share => share && share < LEAST_SHARE ? `<${percent(0.001)}` : formatter("NumberFormat", {style: "percent", maximumFractionDigits: share < 0.1 ? 1 : 0}).format(share);

/** "1.4 GiB"; `isBound`: a bound is told without the zeros. */
export function bytes(number, {isBound = false} = {}) {
  let unit = 0;
  for (; number >= 1023.5 && unit < UNITS.length - 1; unit++) number /= 1024;
  const digits = unit === 0 || number >= 99.95 ? 0 : 1;
  const text = formatter("NumberFormat", {minimumFractionDigits: isBound ? 0 : digits, maximumFractionDigits: digits}).format(number);
  return `${text} ${UNITS[unit]}`;
}

/** 0 stands for a time that is not known. */
export const time = seconds => seconds ? formatter("DateTimeFormat", {dateStyle: "medium", timeStyle: "short"}).format(seconds * 1000) : t("unknown");

export const day = seconds => seconds ? formatter("DateTimeFormat", {year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit", hourCycle: "h23"}).format(seconds * 1000) : "–";

/** "3 minutes ago", for a number of seconds in the past. */
export function ago(seconds) {
  const [unit, length] = STEPS.find(([, step]) => seconds >= step) ?? STEPS.at(-1);
  return formatter("RelativeTimeFormat", {numeric: "auto"}).format(-Math.round(seconds / length), unit);
}

/** "3 d", "2 h" in words, of one unit. */
export function duration(seconds) {
  const years = seconds / (365 * 86400);
  if (years >= 1) return unit(years, "year");
  const [name, length] = STEPS.find(([, step]) => seconds >= step) ?? STEPS.at(-1);
  return unit(seconds / length, name);
}

const unit = (number, name) => formatter("NumberFormat", {style: "unit", unit: name, unitDisplay: "long", maximumFractionDigits: 0}).format(number);

export const milliseconds = number => number >= 1000 ? `${decimal(number / 1000)} s` : `${decimal(number)} ms`;
