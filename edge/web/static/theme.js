// Light or dark: what the reader chose on this device, or else what the device prefers. Runs before the page is drawn.
"use strict";
const theme = {
  system: matchMedia("(prefers-color-scheme: dark)"),
  chosen: () => localStorage.getItem("theme"),
  apply() {
    document.documentElement.dataset.theme = theme.chosen() ?? (theme.system.matches ? "dark" : "light");
  },
  toggle() {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    // Choosing what the device prefers anyway is no choice: the page follows the device again.
    if ((next === "dark") === theme.system.matches) localStorage.removeItem("theme");
    else localStorage.setItem("theme", next);
    theme.apply();
  },
};
theme.system.addEventListener("change", theme.apply);
theme.apply();
