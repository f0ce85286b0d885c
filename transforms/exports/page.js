"use strict";
const player = document.getElementById("player");
const transcript = document.getElementById("transcript");
const words = [...transcript.querySelectorAll(".said p > span")];
// Start and end of each word in milliseconds, one after the other.
const times = JSON.parse(document.getElementById("times").textContent);
const indexOf = new Map(words.map((word, index) => [word, index]));
const byStart = words.map((_, index) => index).sort((a, b) => times[2 * a] - times[2 * b]);
const starts = byStart.map(index => times[2 * index]);
const calm = matchMedia("(prefers-reduced-motion: reduce)");

const clock = ms => {
  const seconds = Math.floor(ms / 1000);
  const two = number => String(number).padStart(2, "0");
  const minutes = Math.floor(seconds / 60) % 60;
  return (seconds < 3600 ? minutes : `${Math.floor(seconds / 3600)}:${two(minutes)}`) + ":" + two(seconds % 60);
};

// --- playing ---

const hear = ms => {
  if (!player.hasAttribute("src")) return;
  player.currentTime = ms / 1000;
  const started = player.play();
  if (started) started.catch(() => {}); // what is wrong with the recording is told by the player's error
};
const toggle = () => (player.paused ? hear(player.currentTime * 1000) : player.pause());

let lit = [];
// Several people may speak at once, so several words may be lit; a word before so many others is over.
const OVERLAPPING = 80;
const light = () => {
  const now = player.currentTime * 1000 + 1;
  let low = 0, high = starts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (starts[middle] <= now) low = middle + 1; else high = middle;
  }
  const lighting = [];
  for (let at = low - 1; at >= Math.max(0, low - OVERLAPPING); at--) {
    if (times[2 * byStart[at] + 1] > now) lighting.push(words[byStart[at]]);
  }
  for (const word of lit) if (!lighting.includes(word)) word.classList.remove("lit");
  for (const word of lighting) if (!lit.includes(word)) { word.classList.add("lit"); follow(word); }
  lit = lighting;
};
const run = () => { light(); if (!player.paused) requestAnimationFrame(run); };
player.addEventListener("play", run);
player.addEventListener("seeked", light);

let leftAlone = 0;
for (const event of ["wheel", "touchmove"]) {
  addEventListener(event, () => { leftAlone = Date.now() + 4000; }, { passive: true });
}
const show = word => word.scrollIntoView({ block: "center", behavior: calm.matches ? "instant" : "smooth" });
const follow = word => {
  if (player.paused || Date.now() < leftAlone) return;
  const { top, bottom } = word.getBoundingClientRect();
  if (top < document.querySelector(".bar").offsetHeight || bottom > innerHeight - 40) show(word);
};

document.getElementById("speed").addEventListener("change", event => { player.playbackRate = Number(event.target.value); });
player.addEventListener("error", () => {
  const trouble = document.getElementById("trouble");
  trouble.textContent = `The recording cannot be played from here: ${player.dataset.uri}`;
  trouble.hidden = false;
});

// --- words: one of them is reached by Tab, the arrows go from there ---

let current = null;
const enter = word => {
  if (!word) return;
  if (current) { current.removeAttribute("tabindex"); current.removeAttribute("role"); current.removeAttribute("aria-label"); }
  current = word;
  word.tabIndex = 0;
  word.setAttribute("role", "button");
  word.setAttribute("aria-label", [word.textContent, word.title, clock(times[2 * indexOf.get(word)])].filter(Boolean).join(", "));
};
const go = word => { if (word) { enter(word); word.focus({ preventScroll: true }); word.scrollIntoView({ block: "nearest" }); } };
const line = (index, step) => {
  const from = words[index].getBoundingClientRect();
  let best = null, row = null;
  for (let at = index + step; words[at]; at += step) {
    const box = words[at].getBoundingClientRect();
    if (Math.abs(box.top - from.top) < from.height / 2) continue;
    if (row !== null && Math.abs(box.top - row) > from.height / 2) break;
    row = box.top;
    if (!best || Math.abs(box.left - from.left) < Math.abs(best.left - from.left)) best = { left: box.left, word: words[at] };
  }
  return best && best.word;
};
enter(words[0]);

const wordOf = target => (indexOf.has(target) ? target : null);
transcript.addEventListener("click", event => {
  const word = wordOf(event.target);
  const link = event.target.closest(".time");
  if (link) { hear(Number(link.dataset.ms)); return; }
  if (!word || !getSelection().isCollapsed) return; // somebody marks text to copy it
  go(word);
  hear(times[2 * indexOf.get(word)]);
});
addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest("input, select, button, audio")) return;
  const word = wordOf(event.target);
  const index = word ? indexOf.get(word) : -1;
  const actions = {
    " ": toggle,
    "/": () => search.focus(),
    ...(word ? {
      Enter: () => hear(times[2 * index]),
      ArrowRight: () => go(words[index + 1]),
      ArrowLeft: () => go(words[index - 1]),
      ArrowDown: () => go(line(index, 1)),
      ArrowUp: () => go(line(index, -1)),
      Home: () => go(word.parentElement.firstElementChild),
      End: () => go(word.parentElement.lastElementChild),
    } : {}),
  };
  if (!Object.hasOwn(actions, event.key)) return;
  event.preventDefault();
  actions[event.key]();
});

// --- search: in each paragraph, without regard to case and accents ---

const search = document.getElementById("search");
const found = document.getElementById("found");
const fold = text => text.normalize("NFD").replace(/\p{Mn}/gu, "").toLowerCase();
let pages = null, matches = [], chosen = -1;
const index = () => [...transcript.querySelectorAll(".said p")].map(paragraph => {
  let text = "";
  const ends = [], inside = [...paragraph.children];
  for (const node of paragraph.childNodes) {
    text += fold(node.textContent);
    if (node.nodeType === Node.ELEMENT_NODE) ends.push(text.length);
  }
  return { text, ends, inside };
});
const look = () => {
  for (const match of matches) for (const word of match) word.classList.remove("hit", "now");
  matches = [];
  chosen = -1;
  const wanted = fold(search.value).trim().replace(/\s+/g, " ");
  if (wanted) {
    pages ??= index();
    for (const { text, ends, inside } of pages) {
      for (let at = text.indexOf(wanted), word = 0; at >= 0; at = text.indexOf(wanted, at + wanted.length)) {
        while (ends[word] <= at) word++;
        let last = word;
        while (ends[last] < at + wanted.length) last++;
        matches.push(inside.slice(word, last + 1));
      }
    }
  }
  for (const match of matches) for (const word of match) word.classList.add("hit");
  for (const id of ["previous", "next"]) document.getElementById(id).disabled = !matches.length;
  found.textContent = wanted && !matches.length ? "none" : "";
  choose(1);
};
const choose = step => {
  if (!matches.length) return;
  if (chosen >= 0) for (const word of matches[chosen]) word.classList.remove("now");
  chosen = (chosen + step + matches.length) % matches.length;
  for (const word of matches[chosen]) word.classList.add("now");
  found.textContent = `${chosen + 1} of ${matches.length}`;
  enter(matches[chosen][0]);
  leftAlone = Date.now() + 4000;
  show(matches[chosen][0]);
};
let waiting = 0;
search.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(look, 120); });
search.addEventListener("keydown", event => {
  if (event.key === "Enter") { event.preventDefault(); choose(event.shiftKey ? -1 : 1); }
  if (event.key === "Escape") { search.value = ""; look(); go(current); }
});
document.getElementById("previous").addEventListener("click", () => choose(-1));
document.getElementById("next").addEventListener("click", () => choose(1));

// --- the rest ---

const doubts = document.getElementById("doubts");
const mark = () => document.body.classList.toggle("doubts", doubts.checked);
doubts.addEventListener("change", mark);
mark();
for (const fact of document.querySelectorAll("[data-language]")) {
  try { fact.textContent = new Intl.DisplayNames(["en"], { type: "language" }).of(fact.dataset.language); } catch { /* the code says it too */ }
}
const asked = /^#t=([\d.]+)$/.exec(location.hash);
if (asked) player.currentTime = Number(asked[1]);
