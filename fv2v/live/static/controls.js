// SPDX-License-Identifier: Apache-2.0
// Sliders, switches and dragging: what the page asks of the server, as one object of settings.

import { $ } from "./common.js";

const form = $("controls"), stage = $("stage"), own = $("own");
const sliders = [...form.querySelectorAll('input[type="range"]')];
const enablers = [...form.querySelectorAll("[data-enables]")];
const listeners = [];
let changed = {};

/** Have settings that change sent: `listener` gets those that did, at most once a display's frame. */
export const onChange = (listener) => listeners.push(listener);

/** All settings, for a new session. */
export function settings() {
  const values = Object.fromEntries(sliders.filter((each) => !each.disabled).map((each) => [each.name, +each.value]));
  values.mirror = form.elements.mirror.checked;
  const relative = form.elements.relative.value;
  if (relative) values.relative = relative === "true";
  return values;
}

function change(values) {
  if (!Object.keys(changed).length) {
    requestAnimationFrame(() => {
      const sent = changed;
      changed = {};
      for (const listener of listeners) listener(sent);
    });
  }
  Object.assign(changed, values);
}

function show(slider) {
  const degrees = ["yaw", "pitch", "roll"].includes(slider.name);
  slider.nextElementSibling.textContent = degrees ? `${slider.value}°` : slider.value;
}

function set(name, value) {
  const slider = form.elements[name];
  slider.value = value;
  show(slider);
  change({ [name]: +slider.value });
}

export function showServerSettings(figures) {
  const radios = form.elements.relative;
  if (!radios.value) radios.value = String(figures.relative);
  $("anchor").disabled = radios.value !== "true";
  $("retarget").hidden = !figures.openness;
}

for (const slider of sliders) {
  show(slider);
  slider.addEventListener("input", () => { show(slider); change({ [slider.name]: +slider.value }); });
}
for (const box of enablers) {
  box.addEventListener("change", () => {
    const slider = form.elements[box.dataset.enables];
    slider.disabled = !box.checked;
    change({ [slider.name]: box.checked ? +slider.value : null });
  });
}
for (const radio of form.elements.relative) {
  radio.addEventListener("change", () => {
    change({ relative: radio.value === "true" });
    $("anchor").disabled = radio.value !== "true";
  });
}
form.elements.mirror.addEventListener("change", ({ target }) => {
  own.classList.toggle("mirrored", target.checked);
  change({ mirror: target.checked });
});
form.addEventListener("submit", (event) => event.preventDefault());
$("anchor").addEventListener("click", () => change({ anchor: true }));

function lookAhead() {
  for (const name of ["yaw", "pitch", "roll"]) set(name, 0);
}
$("reset").addEventListener("click", lookAhead);

const turn = (name, by) => set(name, +form.elements[name].value + by);

stage.addEventListener("pointerdown", (event) => stage.setPointerCapture(event.pointerId));
stage.addEventListener("pointermove", (event) => {
  if (!stage.hasPointerCapture(event.pointerId)) return;
  const degrees = 90 / stage.clientWidth; // a picture's width turns the head by 90 degrees
  set("yaw", +form.elements.yaw.value + event.movementX * degrees);
  set("pitch", +form.elements.pitch.value + event.movementY * degrees);
});
stage.addEventListener("dblclick", lookAhead);
stage.addEventListener("keydown", (event) => {
  const keys = { ArrowLeft: ["yaw", -3], ArrowRight: ["yaw", 3], ArrowUp: ["pitch", -3], ArrowDown: ["pitch", 3] };
  if (event.key in keys) turn(...keys[event.key]);
  else if (event.key === "0") lookAhead();
  else return;
  event.preventDefault();
});
