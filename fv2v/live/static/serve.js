// SPDX-License-Identifier: Apache-2.0
// Puts the page together: tabs, the portrait, and what the server is.

import { $, ask, choosePortrait, say, uploadPortrait, wait } from "./common.js";
import { chooseDriving, render, watchFilms } from "./film.js";
import { changeCamera, toggle } from "./live.js";

const tabs = [$("tab-live"), $("tab-film")];
let most = 25 * 2 ** 20;

function select(tab) {
  for (const each of tabs) {
    const active = each === tab;
    each.setAttribute("aria-selected", active);
    each.tabIndex = active ? 0 : -1;
    $(each.getAttribute("aria-controls")).hidden = !active;
  }
}
for (const tab of tabs) {
  tab.addEventListener("click", () => select(tab));
  tab.addEventListener("keydown", ({ key }) => {
    if (key !== "ArrowLeft" && key !== "ArrowRight") return;
    const other = tabs[1 - tabs.indexOf(tab)];
    other.focus();
    select(other);
  });
}

$("start").addEventListener("click", toggle);
$("camera").addEventListener("change", changeCamera);
$("portrait-file").addEventListener("change", ({ target }) => uploadPortrait(target, most));
$("portrait-drawn").addEventListener("click", () => choosePortrait("drawn"));
$("driving").addEventListener("change", ({ target }) => chooseDriving(target, most));
$("render").addEventListener("click", render);

if (!navigator.mediaDevices) {
  say("This browser gives no camera to this page: open it by 127.0.0.1, or by HTTPS.", "bad");
  $("start").disabled = true;
}
choosePortrait("drawn");
watchFilms();
while (true) {
  try {
    const state = await ask("GET", "state");
    $("model").textContent = `${state.preset}, ${state.size} × ${state.size} pixels`;
    most = state.upload;
    break;
  } catch (error) {
    say(error.message, "bad");
    await wait(2000);
  }
}
