// SPDX-License-Identifier: Apache-2.0
// What both tabs share: requests to the server, the line that says how things are, and the portrait.

const base = new URL(".", location.href);

export const $ = (id) => document.getElementById(id);

export class ServerGone extends Error {}

/** A request to the server; its JSON, or an Error with the server's own words. */
export async function ask(method, path, body) {
  let response;
  try {
    response = await fetch(new URL(path, base), { method, body });
  } catch {
    throw new ServerGone("The server does not answer. Is fv2v still running? Trying again …");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer.error || `The server refused (${response.status}).`);
  return answer;
}

/** Say how things are: kind is "", "good" or "bad". */
export function say(text, kind = "") {
  const line = $("status");
  if (line.textContent !== text) line.textContent = text;
  line.className = kind;
}

export const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

export const chosen = { portrait: "drawn", listeners: [] };

/** Use a portrait that the server has, and show it. */
export function choosePortrait(name) {
  chosen.portrait = name;
  $("portrait").src = new URL(`portraits/${name}`, base);
  for (const listener of chosen.listeners) listener(name);
}

/** Upload the picture that a file input holds, and use it. */
export async function uploadPortrait(input, most) {
  const [file] = input.files;
  input.value = "";
  if (!file) return;
  if (file.size > most) {
    say(`The picture has ${(file.size / 2 ** 20).toFixed(0)} MB; ${most / 2 ** 20} MB is the most.`, "bad");
    return;
  }
  say("Looking for the face …");
  try {
    choosePortrait((await ask("POST", "portraits", file)).portrait);
    say("This is the portrait now.", "good");
  } catch (error) {
    say(error.message, "bad");
  }
}
