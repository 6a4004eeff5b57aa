/** The way in: a key. */

import {ask, key} from "./api.js";
import {element} from "./dom.js";
import {t} from "./i18n.js";

/** enter(): a key was taken; it is kept already. `sentence`: why one has to sign in, if there is a reason. */
export function signIn(enter, sentence = "") {
  const input = element("input", {
    id: "key", type: "password", required: true, autocomplete: "off", autocapitalize: "off", spellcheck: "false",
    "aria-describedby": "key-kept sign-message",
  });
  const message = element("p.message", {id: "sign-message", role: "alert"}, sentence);
  const button = element("button.main", {type: "submit"}, t("sign.in"));
  const form = element("form", {novalidate: true}, element("label", {for: "key"}, t("sign.key")), input, message, button,
    element("p.dim", {id: "key-kept"}, t("sign.kept")));
  form.addEventListener("submit", async event => {
    event.preventDefault();
    const value = input.value.trim();
    message.textContent = value ? "" : t("sign.needed");
    if (!value || button.disabled) return input.focus();
    button.disabled = true;
    key.set(value);
    try {
      await ask("/status");
      return enter();
    } catch (failure) {
      if (failure.status === 403) return enter();
      key.forget();
      message.textContent = failure.status === 401 ? t("sign.unknown")
        : failure.status ? t("failed", {detail: failure.message}) : t("sign.unreachable");
    }
    button.disabled = false;
    input.focus();
  });
  return element("main.sign-in", {id: "main"}, element("div.card", element("img", {src: "/view/static/icon.svg", alt: "", width: 44, height: 44}),
    element("h1", "Fusion"), element("p", t("sign.lead")), form, element("p", element("a", {href: "/docs"}, t("sign.docs")))));
}
