/** The page: who is signed in, which view the address names, what the service says. */

import {Failure, key, service} from "./api.js";
import {element, icon, setAttributes} from "./dom.js";
import {Explorer} from "./explorer.js";
import {Histograms} from "./histograms.js";
import {known, language, otherLanguage, setLanguage, t} from "./i18n.js";
import {MapView} from "./map.js";
import {Overview} from "./overview.js";
import {tidy} from "./places.js";
import {badge} from "./progress.js";
import {Search} from "./search.js";
import {signIn} from "./signin.js";
import {Feed} from "./status.js";
import {nextTheme, setTheme, theme} from "./theme.js";
import {Waiting, forbidden} from "./waiting.js";

const VIEWS = {overview: Overview, explore: Explorer, search: Search, map: MapView, histograms: Histograms};
const app = document.getElementById("app");
const feed = new Feed();

/** What a view's work may end in; every view gives its promises here. */
const report = {
  async of(work) {
    try {
      return await work;
    } catch (error) {
      if (error.name === "AbortError") return undefined;
      if (!(error instanceof Failure)) throw error;
      failed(error);
      return undefined;
    }
  },
};

const go = hash => location.hash = hash;

let page = null;

/** The page of somebody who is signed in, in one language. */
class Page {
  views = {};
  waiting = new Waiting();
  news = new Map();
  isReady = null; // whether the view was shown last

  constructor() {
    this.banner = element("div.banner", {role: "status"});
    this.state = element("a.pill", {href: "#/overview"});
    this.links = Object.fromEntries(Object.keys(VIEWS).map(name =>
      [name, element("a", {href: `#/${name}`}, icon(name), element("span", t(`view.${name}`)))]));
    this.main = element("main", {id: "main", tabindex: -1});
    this.element = element("div.page",
      element("a.skip", {href: "#main"}, t("skip")),
      element("header", element("a.brand", {href: "#/overview", "aria-label": "Fusion"},
        element("img", {src: "/view/static/icon.svg", alt: "", width: 24, height: 24}), element("span", "Fusion")),
        element("nav.tabs", {"aria-label": t("nav")}, Object.values(this.links)), this.state, tools()),
      this.banner, this.main);
    this.element.querySelector(".skip").addEventListener("click", event => {
      event.preventDefault();
      this.main.focus();
    });
  }

  /** Show what the address names, or why it cannot be shown yet. */
  route() {
    const {name, ...asked} = address();
    this.name = name;
    this.say("failed", "");
    for (const [other, link] of Object.entries(this.links)) setAttributes(link, {"aria-current": other === name && "page"});
    if (asked.place) for (const other of ["explore", "map", "histograms"]) this.links[other].href = `#/${other}${asked.place}`;
    document.title = `${t(`view.${name}`)} · Fusion`;
    const {status} = feed;
    if (!status) return;
    this.isReady = status.ready;
    const view = this.views[name] ??= new VIEWS[name]({feed, report, go});
    const isShown = status.ready || name === "overview";
    const element = isShown ? view.element : this.waiting.element;
    this.main.dataset.view = name;
    if (this.main.firstChild !== element) this.main.replaceChildren(element);
    if (isShown) report.of(Promise.resolve(view.show(asked)));
    else this.waiting.draw(status);
  }

  /** The service has told its status. */
  update(status) {
    this.state.replaceChildren(badge(status.state));
    this.state.setAttribute("aria-label", `${status.datastore}: ${known(`state.${status.state}`) ?? status.state}`);
    if (this.isReady !== status.ready) {
      this.route();
      if (status.ready) this.refresh();
    }
    if (this.name === "overview") this.views.overview?.update(status);
    else if (!status.ready) this.waiting.draw(status);
  }

  refresh() {
    if (feed.status?.ready) this.views[this.name]?.refresh();
  }

  /** Of a kind of news the latest is shown, until an empty one. */
  say(kind, text) {
    this.news.set(kind, text);
    this.banner.textContent = [...this.news.values()].filter(Boolean).join(" ");
  }

  refuse(scope) {
    this.main.replaceChildren(forbidden(scope));
  }
}

/** {name, place, parameters}: what the address names; anything else is the overview. */
function address() {
  const [, name = "", rest = ""] = location.hash.match(/^#\/(\w+)(.*)$/s) ?? [];
  if (!(name in VIEWS)) return {name: "overview"};
  if (name === "overview") return {name};
  if (name === "search") return {name, parameters: new URLSearchParams(rest.slice(1))};
  return {name, place: tidy(rest)};
}

function tools() {
  const tongue = element("button.quiet", {type: "button", lang: otherLanguage(), "aria-label": t("language.switch")}, t("language.other"));
  tongue.addEventListener("click", () => {
    setLanguage(otherLanguage());
    draw();
  });
  const colours = element("button.quiet", {type: "button"}, icon("theme"));
  const tell = () => ["aria-label", "title"].forEach(name => colours.setAttribute(name, t(`theme.${theme()}`)));
  colours.addEventListener("click", () => {
    setTheme(nextTheme());
    tell();
  });
  tell();
  const leave = element("button.quiet", {type: "button", "aria-label": t("sign.out"), title: t("sign.out")}, icon("leave"));
  leave.addEventListener("click", () => signOut());
  return element("div.tools", tongue, colours, key.get() ? leave : "");
}

/** Draw all of the page, in the present language. */
function draw(sentence = "") {
  document.documentElement.lang = language() === "zh" ? "zh-CN" : "en";
  if (!key.get()) {
    page = null;
    document.title = `${t("sign.in")} · Fusion`;
    app.replaceChildren(element("div.page", element("header.bare", tools()), signIn(enter, sentence)));
    app.querySelector("#key").focus();
    return;
  }
  page = new Page();
  app.replaceChildren(page.element);
  page.route();
  if (feed.status) page.update(feed.status);
}

function enter() {
  draw();
  feed.start();
}

function signOut(sentence = "") {
  key.forget();
  feed.stop();
  draw(sentence);
}

/** A request has failed, which everybody may be told of. */
function failed(failure) {
  if (!page || failure.status === 401) return; // 401: see `unauthorized`
  if (failure.status === 403) {
    feed.stop();
    page.refuse(/'(\w+)'/.exec(failure.detail)?.[1] ?? "read");
  } else if (failure.status === 503) feed.poll();
  else if (failure.status) page.say("failed", t("failed", {detail: failure.message}));
  else page.say("unreachable", t("banner.unreachable"));
}

service.addEventListener("unauthorized", () => page && signOut(t("sign.unknown")));
service.addEventListener("pause", ({detail: seconds}) => page?.say("pause", seconds ? t("banner.pause", {n: seconds}) : ""));
feed.addEventListener("failure", ({detail}) => failed(detail));
feed.addEventListener("status", () => {
  page?.say("unreachable", "");
  page?.update(feed.status);
});
feed.addEventListener("revision", () => page?.refresh());
addEventListener("hashchange", () => page?.route());
addEventListener("keydown", event => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select")) return;
  event.preventDefault();
  if (page) go("#/search");
});

setTheme(theme());
draw();
if (key.get()) feed.start();
