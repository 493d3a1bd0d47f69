// SPDX-License-Identifier: Apache-2.0
// The tab "File": videos are uploaded, rendered one after the other, played and downloaded.

import { $, ask, chosen, say, ServerGone, wait } from "./common.js";

const rows = new Map(); // of films, by name: { element, driving }
let file = null;

export function chooseDriving(input, most) {
  file = input.files[0] || null;
  if (file && file.size > most) {
    say(`The video has ${(file.size / 2 ** 20).toFixed(0)} MB; ${most / 2 ** 20} MB is the most.`, "bad");
    file = null;
  }
  $("driving-name").textContent = file ? file.name : "none chosen";
  $("render").disabled = !file;
}

export async function render() {
  const driving = file;
  $("render").disabled = true;
  say("Uploading …");
  try {
    const { film } = await ask("POST", `films?portrait=${chosen.portrait}`, driving);
    addRow(film, driving);
    say("In the queue.");
  } catch (error) {
    say(error.message, "bad");
  }
  $("render").disabled = !file;
}

function addRow(name, driving) {
  const element = $("film-row").content.firstElementChild.cloneNode(true);
  const part = (selector) => element.querySelector(selector);
  part(".name").textContent = driving ? driving.name : "film";
  part(".cancel").addEventListener("click", () => cancel(name));
  part(".both").addEventListener("click", () => {
    for (const video of element.querySelectorAll("video")) { video.currentTime = 0; video.play(); }
  });
  $("films").prepend(element);
  rows.set(name, { element, part, driving, state: "" });
}

async function cancel(name) {
  try {
    await ask("DELETE", `films/${name}`);
  } catch (error) {
    say(error.message, "bad");
  }
}

function show(name, film) {
  if (!rows.has(name)) addRow(name, null);
  const row = rows.get(name), { part, element, driving } = row;
  const left = film.left === null ? "" : `, ${Math.ceil(film.left)} s left`;
  const texts = {
    waiting: "waits", running: film.total ? `frame ${film.done} of ${film.total}${left}` : "begins …",
    done: film.note, failed: film.note, cancelled: "cancelled",
  };
  part(".text").textContent = texts[film.state];
  if (film.state === row.state && film.state !== "running") return;
  row.state = film.state;
  const bar = part("progress");
  bar.hidden = !["waiting", "running"].includes(film.state);
  if (film.total) Object.assign(bar, { max: film.total, value: film.done });
  part(".cancel").textContent = bar.hidden ? "Remove" : "Cancel";
  if (film.state === "failed") say(film.note, "bad");
  if (film.state !== "done") return;
  const url = new URL(`films/${name}`, location.href);
  part(".download").href = part(".after").src = url;
  if (driving) part(".before").src = URL.createObjectURL(driving);
  part(".before").parentElement.hidden = !driving;
  part(".both").hidden = !driving;
  part(".download").hidden = element.querySelector(".pair").hidden = false;
  say("The film is done.", "good");
}

/** Ask how films come along, while there are any. */
export async function watchFilms() {
  let lost = false;
  while (true) {
    await wait(500);
    if (!rows.size && !lost) continue;
    try {
      const films = await ask("GET", "films");
      if (lost) say("The server is back.", "good");
      lost = false;
      for (const [name, film] of Object.entries(films)) show(name, film);
      for (const [name, { element }] of rows) {
        if (name in films) continue;
        element.remove();
        rows.delete(name);
      }
    } catch (error) {
      lost = error instanceof ServerGone;
      say(error.message, "bad");
    }
  }
}
