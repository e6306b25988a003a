// The picture, and over it what belongs to exactly that picture: boxes, tags, diverters.
// Loaded before live.js, whose `line` and helpers it uses once the first picture comes.
"use strict";

const meet = ([x, y, w, h], [X, Y, W, H]) => x < X + W && X < x + w && y < Y + H && Y < y + h;

const view = {
  due: false, // a newer picture than the one on the screen has been announced
  busy: false,

  announce() {
    view.due = true;
    if (!view.busy && !document.hidden) view.fetch();
  },

  async fetch() {
    view.busy = true;
    view.due = false;
    try {
      const answer = await fetch("/picture.jpg", { cache: "no-store" });
      if (!answer.ok) return;
      const about = JSON.parse(answer.headers.get("Sortline-Picture"));
      const picture = await createImageBitmap(await answer.blob());
      const canvas = $("picture");
      if (canvas.width !== picture.width || canvas.height !== picture.height) {
        [canvas.width, canvas.height] = [picture.width, picture.height];
        $("view").style.setProperty("--shape", `${picture.width} / ${picture.height}`);
      }
      canvas.getContext("2d").drawImage(picture, 0, 0);
      picture.close();
      $("notice").hidden = true;
      view.annotate(about);
    } catch {
      // A picture that was cut off is followed by the next one.
    } finally {
      view.busy = false;
      if (view.due && !document.hidden) view.fetch();
    }
  },

  annotate({ full: [width, height], items }) {
    const overlay = $("overlay");
    view.gates(overlay, width, height);
    const left = new Map([...overlay.querySelectorAll(".box")].map((box) => [box.dataset.item, box]));
    for (const item of items) {
      let box = left.get(String(item.id));
      left.delete(String(item.id));
      if (!box) {
        box = make("div", "box");
        box.dataset.item = item.id;
        const tag = make("span", "tag");
        tag.append(make("i"), make("span"));
        box.append(tag);
        overlay.append(box);
      }
      const [x, y, w, h] = item.box;
      box.style.setProperty("--lane", item.lane ? laneColour(item.lane) : "var(--lane-none)");
      box.style.left = `${(100 * x) / width}%`;
      box.style.top = `${(100 * y) / height}%`;
      box.style.width = `${(100 * w) / width}%`;
      box.style.height = `${(100 * h) / height}%`;
      box.classList.toggle("late", x > 0.82 * width);
      write(box.firstChild.firstChild, item.id);
      write(box.firstChild.lastChild, item.label ?? "");
      box.firstChild.style.setProperty("--sure", item.label ? item.confidence : 0);
    }
    for (const box of left.values()) box.remove();
    view.placeTags(overlay);
  },

  // A tag stands above its box, or below where it would cover another, and there without its number if it must;
  // it stays where it is while it can.
  placeTags(overlay) {
    const boxes = [...overlay.querySelectorAll(".box")];
    const taken = boxes.map((box) => [box.offsetLeft, box.offsetTop, box.offsetWidth, box.offsetHeight]);
    const places = boxes.map((box, i) => {
      const [x, y, w, h] = taken[i];
      const tag = box.firstChild;
      const height = tag.offsetHeight;
      if (!box.classList.contains("tight")) tag.dataset.number = tag.firstChild.offsetWidth + 6;
      const number = Number(tag.dataset.number);
      const full = tag.offsetWidth + (box.classList.contains("tight") ? number : 0);
      const at = ([low, tight]) => {
        const width = full - (tight ? number : 0);
        return [box.classList.contains("late") ? x + w - width : x, low ? y + h + 5 : y - height - 5, width, height];
      };
      const was = box.classList.contains("low");
      const free = (place) => place[1] >= 0 && place[1] + height <= overlay.offsetHeight && !taken.some((other, j) => j !== i && meet(place, other));
      const named = tag.lastChild.textContent !== "";
      const ways = [[was, false], [!was, false], ...(named ? [[was, true], [!was, true]] : [])];
      const way = ways.find((one) => free(at(one))) ?? [y < height + 5, named];
      taken.push(at(way));
      return way;
    });
    boxes.forEach((box, i) => {
      box.classList.toggle("low", places[i][0]);
      box.classList.toggle("tight", places[i][1]);
    });
  },

  // A diverter that stands within the picture is drawn where it stands.
  gates(overlay, width, height) {
    const belt = line.facts?.belt;
    if (!belt || overlay.dataset.gates) return;
    overlay.dataset.gates = "drawn";
    const flat = belt.direction === "right" || belt.direction === "left";
    const length = flat ? width : height;
    const sign = belt.direction === "right" || belt.direction === "down" ? 1 : -1;
    for (const lane of line.facts.lanes.filter((one) => one.distance_mm)) {
      const at = length / 2 + sign * lane.distance_mm * belt.pixels_per_mm;
      if (at < 0 || at > length) continue;
      const gate = make("div", `gate ${flat ? "" : "across"}`);
      gate.style[flat ? "left" : "top"] = `${(100 * at) / length}%`;
      gate.style.setProperty("--lane", laneColour(lane.name));
      gate.classList.toggle("late", at > 0.85 * length);
      gate.append(make("span", "tag", lane.name));
      overlay.append(gate);
    }
  },
};
