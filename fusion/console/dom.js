/** Making elements. Whatever comes from the service goes in as text, never as markup. */

const SVG = "http://www.w3.org/2000/svg";

/** element("td.dim", {title: "x"}, child, ...): attributes may be left out, children may be text. */
export const element = (kind, ...children) => build(tag => document.createElement(tag), kind, children);

/** The same for SVG. */
export const svg = (kind, ...children) => build(tag => document.createElementNS(SVG, tag), kind, children);

function build(create, kind, children) {
  const [tag, ...classes] = kind.split(".");
  const made = create(tag);
  if (classes.length) made.setAttribute("class", classes.join(" "));
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false || child === "") continue;
    if (typeof child === "object" && !(child instanceof Node)) setAttributes(made, child);
    else made.append(child);
  }
  return made;
}

/** null and false take an attribute away, true leaves it without a value. */
export function setAttributes(target, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) target.removeAttribute(name);
    else target.setAttribute(name, value === true ? "" : value);
  }
}

const ICONS = {
  overview: "M3 12h4l3-8 4 16 3-8h4",
  explore: "M3 6a1 1 0 0 1 1-1h5l2 2h9a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1z",
  search: "M11 4a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM16 16l5 5",
  map: "M3 4h18v16H3zM12 4v16M12 13h9",
  histograms: "M4 20V11M10 20V4M16 20v-7M21 20H3",
  chevron: "M9 6l6 6-6 6",
  file: "M6 3h8l4 4v14H6zM14 3v4h4",
  theme: "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16",
  leave: "M14 4h5v16h-5M4 12h10M10 8l4 4-4 4",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
};

/** A drawing that says nothing by itself: a label stands beside it. */
export const icon = name => svg("svg.icon", {viewBox: "0 0 24 24", "aria-hidden": "true"}, svg("path", {d: ICONS[name]}));

/** Calls at most once a frame, with the latest arguments. */
export function framed(work) {
  let asked = 0;
  return () => {
    asked ||= requestAnimationFrame(() => {
      asked = 0;
      work();
    });
  };
}
