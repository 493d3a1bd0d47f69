// SPDX-License-Identifier: Apache-2.0
// The tab "Live": camera to server and pictures back, by WebRTC; what is lost comes back by itself.

import { $, ask, chosen, say, wait } from "./common.js";
import { settings, onChange, showServerSettings } from "./controls.js";
import { FrameTimes, Latest, PERIOD, paintTime, since } from "./timing.js";

const LARGEST = 640; // pixels of a frame's longer side
const SILENCE = 2500; // milliseconds without figures after which the connection counts as lost

const own = $("own"), moved = $("moved");
const canvas = document.createElement("canvas");
const context = canvas.getContext("2d", { alpha: false });
let camera = null; // MediaStream
let link = null; // { peer, control, session, heard, times, latencies, shown }
let running = false;

/** Start with the camera that is chosen, or stop. */
export async function toggle() {
  if (running) return stop("Stopped.");
  running = true;
  $("start").textContent = "Stop";
  if (await openCamera()) await connect();
}

function stop(text) {
  running = false;
  $("start").textContent = "Start the camera";
  hangUp();
  closeCamera();
  moved.srcObject = null;
  say(text);
}

/** Choose another camera while it runs. */
export async function changeCamera() {
  if (!running) return;
  closeCamera();
  await openCamera();
}

function closeCamera() {
  camera?.getTracks().forEach((track) => { track.onended = null; track.stop(); });
  camera = own.srcObject = null;
}

async function openCamera() {
  const id = $("camera").value;
  const video = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };
  if (id) video.deviceId = { exact: id };
  while (running) {
    try {
      camera = await navigator.mediaDevices.getUserMedia({ video });
      break;
    } catch (error) {
      if (error.name === "NotAllowedError") {
        stop("The browser does not let this page use a camera. Allow it, then start again.");
        return false;
      }
      say("There is no camera, or another program uses it. Waiting for it …", "bad");
      await wait(1500);
    }
  }
  if (!running) return false;
  camera.getVideoTracks()[0].onended = () => loseCamera();
  own.srcObject = camera;
  await own.play().catch(() => {});
  listCameras();
  return true;
}

async function loseCamera() {
  closeCamera();
  say("The camera is lost. Waiting for it …", "bad");
  await wait(1000);
  if (running) await openCamera();
}

async function listCameras() {
  const select = $("camera"), before = select.value;
  const devices = (await navigator.mediaDevices.enumerateDevices()).filter((each) => each.kind === "videoinput");
  const options = devices.map((each, i) => new Option(each.label || `camera ${i + 1}`, each.deviceId));
  select.replaceChildren(new Option("the usual one", ""), ...options);
  select.value = options.some((each) => each.value === before) ? before : "";
}

function hangUp() {
  link?.peer.close();
  link = null;
}

/** Connect, and try again until it works. */
async function connect() {
  while (running) {
    hangUp();
    try {
      link = await newLink();
      return;
    } catch (error) {
      say(error.message, "bad");
      await wait(2000);
    }
  }
}

async function newLink() {
  const peer = new RTCPeerConnection({ iceServers: [] });
  const made = { peer, heard: performance.now(), times: new FrameTimes(), latencies: new Latest(), shown: [] };
  const track = canvas.captureStream(0).getVideoTracks()[0];
  made.track = track;
  track.contentHint = "motion";
  peer.addTransceiver(track, { direction: "sendrecv" });
  made.control = peer.createDataChannel("control");
  made.control.onopen = () => sendSettings(settings());
  made.control.onmessage = ({ data }) => showFigures(made, JSON.parse(data));
  const times = peer.createDataChannel("times", { ordered: false, maxRetransmits: 0 });
  times.onmessage = ({ data }) => made.times.add(Number(data));
  peer.ontrack = ({ track, receiver }) => {
    if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
    moved.srcObject = new MediaStream([track]);
    moved.play().catch(() => {});
  };
  await peer.setLocalDescription(await peer.createOffer());
  await gathered(peer);
  try {
    const body = JSON.stringify({ sdp: peer.localDescription.sdp, portrait: chosen.portrait });
    const answer = await ask("POST", "sessions", body);
    made.session = answer.session;
    await peer.setRemoteDescription({ type: "answer", sdp: answer.sdp });
  } catch (error) {
    peer.close();
    throw error;
  }
  made.heard = performance.now();
  return made;
}

function gathered(peer) {
  return new Promise((done) => {
    const check = () => peer.iceGatheringState === "complete" && done();
    peer.addEventListener("icegatheringstatechange", check);
    setTimeout(done, 2000);
    check();
  });
}

function sendSettings(values) {
  if (link?.control?.readyState === "open") link.control.send(JSON.stringify(values));
}

onChange(sendSettings);
addEventListener("pagehide", hangUp); // or the server would wait for a silent page
chosen.listeners.push(async (portrait) => {
  if (!link?.session) return;
  try {
    await ask("POST", `sessions/${link.session}/portrait`, JSON.stringify({ portrait }));
  } catch (error) {
    say(error.message, "bad");
  }
});

/** Send a camera's frame, with the time at which it was taken painted into it. */
function sendFrame(now, metadata) {
  own.requestVideoFrameCallback(sendFrame);
  if (!link || !own.videoWidth) return;
  const scale = Math.min(1, LARGEST / Math.max(own.videoWidth, own.videoHeight));
  const [width, height] = [own.videoWidth, own.videoHeight].map((side) => 2 * Math.round((side * scale) / 2));
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  context.drawImage(own, 0, 0, width, height);
  paintTime(context, Math.round(metadata.captureTime ?? now) % PERIOD);
  link.track.requestFrame();
}
own.requestVideoFrameCallback(sendFrame);

function countShown(now, metadata) {
  moved.requestVideoFrameCallback(countShown);
  if (!link) return;
  link.shown.push(now);
  const time = metadata.rtpTimestamp === undefined ? null : link.times.find(metadata.rtpTimestamp);
  if (time !== null) link.latencies.add(since(metadata.expectedDisplayTime ?? now, time));
}
moved.requestVideoFrameCallback(countShown);

function showFigures(from, figures) {
  if (from !== link) return;
  link.heard = performance.now();
  const recent = (link.shown = link.shown.filter((time) => link.heard - time < 2000));
  const [p50, p95] = [0.5, 0.95].map((share) => link.latencies.percentile(share));
  $("fps").textContent = `${(recent.length / 2).toFixed(1)} fps`;
  $("p50").textContent = p50 === null ? "…" : `${p50} ms`;
  $("p95").textContent = p95 === null ? "…" : `${p95} ms`;
  $("dropped").textContent = `${figures.dropped} of ${figures.pushed}`;
  $("kbps").textContent = `${figures.kbps.toFixed(1)} kbit/s`;
  $("face").textContent = figures.seen ? "seen" : "not seen";
  $("face").className = figures.seen ? "" : "bad";
  showServerSettings(figures);
  if (figures.fault) say(figures.fault, "bad");
  else if (!camera) return;
  else if (!figures.shown) say("Connected; waiting for the first picture …");
  else if (!figures.seen) say("No face is seen: the portrait holds still until yours is back.", "bad");
  else say("Live.", "good");
}

/** Figures come twice a second; where they stay away, or the connection fails, connect anew. */
async function watch() {
  while (true) {
    await wait(500);
    if (!link) continue;
    if (link.control.readyState === "open") link.control.send("{}"); // the server closes silent pages
    const failed = ["failed", "closed"].includes(link.peer.connectionState);
    if (!failed && performance.now() - link.heard < SILENCE + (link.shown.length ? 0 : 8000)) continue;
    say("The connection is lost. Trying again …", "bad");
    await connect();
  }
}
watch();
