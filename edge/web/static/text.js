"use strict";

// Every text that the page shows is written here, for a class, a lane or a file may be called what it likes: what
// cannot be seen in a name, or turns its letters about, is written out as edge/plain.py does it. Our own line breaks
// stay where they are meant.
const UNSEEN = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;
const SHORT = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

function plain(text, kept = "") {
  const escaped = (unit) => {
    const code = unit.charCodeAt(0);
    return code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
  };
  return String(text).replace(UNSEEN, (char) => (kept.includes(char) ? char : SHORT[char] ?? char.split("").map(escaped).join("")));
}

function make(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = plain(text);
  return element;
}

// Writes a text only when it has changed, so a screen reader and the browser rest in between.
function write(element, text, kept = "") {
  const shown = plain(text, kept);
  if (element.textContent !== shown) element.textContent = shown;
}
