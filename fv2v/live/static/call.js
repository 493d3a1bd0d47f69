// A side's page of a call: camera and microphone to this machine's fv2v, the other side's picture and sound back.

import { $, ask, say, wait } from "./common.js";

const SILENCE = 5000; // milliseconds without figures after which the connection counts as lost
const PARTS = ["portrait", "motion", "sound", "control", "wire"];
const own = $("own"), moved = $("moved"), stage = $("stage");
const view = { yaw: 0, pitch: 0, roll: 0 };
let media = null, link = null, running = false;

$("start").addEventListener("click", async () => {
  if (running) return stop("Stopped: your portrait stands still.");
  running = true;
  try {
    const video = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };
    media = await navigator.mediaDevices.getUserMedia({ video, audio: { echoCancellation: true } });
  } catch (error) {
    return stop(`No camera and microphone (${error.name}). Allow or plug them in, then start again.`);
  }
  $("start").textContent = "Stop";
  $("mute").disabled = false;
  own.srcObject = media;
  own.play().catch(() => {});
  media.getVideoTracks()[0].onended = () => stop("The camera is lost. Start again when it is back.");
  await connect();
});

$("mute").addEventListener("click", ({ target }) => {
  const [track] = media.getAudioTracks();
  track.enabled = !track.enabled;
  target.setAttribute("aria-pressed", !track.enabled);
  target.textContent = track.enabled ? "Mute" : "Unmute";
});

function stop(text) {
  running = false;
  media?.getTracks().forEach((track) => { track.onended = null; track.stop(); });
  link?.peer.close();
  media = link = own.srcObject = moved.srcObject = null;
  $("start").textContent = "Start camera and microphone";
  $("mute").disabled = true;
  say(text);
}

/** Connect to this machine's fv2v, and try again until it works. */
async function connect() {
  while (running) {
    link?.peer.close();
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
  const made = { peer, heard: performance.now(), control: peer.createDataChannel("control") };
  const coming = new MediaStream();
  for (const track of media.getTracks()) peer.addTransceiver(track, { direction: "sendrecv" });
  made.control.onopen = sendView;
  made.control.onmessage = ({ data }) => { made.heard = performance.now(); show(JSON.parse(data)); };
  peer.ontrack = ({ track }) => {
    coming.addTrack(track);
    moved.srcObject = coming;
    moved.play().catch(() => {});
  };
  await peer.setLocalDescription(await peer.createOffer());
  for (let i = 0; i < 40 && peer.iceGatheringState !== "complete"; i++) await wait(50);
  try {
    const { sdp } = await ask("POST", "offer", JSON.stringify({ sdp: peer.localDescription.sdp }));
    await peer.setRemoteDescription({ type: "answer", sdp });
  } catch (error) {
    peer.close();
    throw error;
  }
  return made;
}

function show(lap) {
  $("there").textContent = lap.connected ? "there" : "not there";
  $("there").className = lap.connected ? "" : "bad";
  $("fps").textContent = lap.shown === undefined ? "–" : `${lap.shown.toFixed(1)} fps`;
  $("latency").textContent = lap.latency ? `${lap.latency[0]}, ${lap.latency[1]} ms` : "–";
  $("face").textContent = lap.seen ? "seen" : "not seen";
  $("face").className = lap.seen ? "" : "bad";
  $("lost").textContent = lap.lost ?? "–";
  if (!lap.connected) say("Waiting for the other side …");
  else if (!lap.seen) say("Your face is not seen: your portrait holds still until it is back.", "bad");
  else say("In the call.", "good");
  if (!lap.sent) return;
  $("rates").replaceChildren(...PARTS.map((part) => {
    const cell = document.createElement("div");
    const [term, value] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = part === "wire" ? "on the wire" : part;
    value.textContent = `${Math.round(lap.sent[part])} out, ${Math.round(lap.received[part])} in B/s`;
    cell.append(term, value);
    return cell;
  }));
}

function sendView() {
  $("view").textContent = `${Math.round(view.yaw)}°, ${Math.round(view.pitch)}°`;
  if (link?.control.readyState === "open") link.control.send(JSON.stringify(view));
}

function turn(yaw, pitch) {
  view.yaw = Math.min(Math.max(view.yaw + yaw, -60), 60);
  view.pitch = Math.min(Math.max(view.pitch + pitch, -60), 60);
  sendView();
}

function lookStraight() {
  turn(-view.yaw, -view.pitch);
}

$("reset").addEventListener("click", lookStraight);
stage.addEventListener("dblclick", lookStraight);
stage.addEventListener("pointerdown", (event) => stage.setPointerCapture(event.pointerId));
stage.addEventListener("pointermove", (event) => {
  if (!stage.hasPointerCapture(event.pointerId)) return;
  const degrees = 90 / stage.clientWidth; // a picture's width turns the head by 90 degrees
  turn(event.movementX * degrees, event.movementY * degrees);
});
stage.addEventListener("keydown", (event) => {
  const keys = { ArrowLeft: [-3, 0], ArrowRight: [3, 0], ArrowUp: [0, -3], ArrowDown: [0, 3] };
  if (event.key in keys) turn(...keys[event.key]);
  else if (event.key === "0") lookStraight();
  else return;
  event.preventDefault();
});

if (!navigator.mediaDevices) {
  say("This browser gives no camera to this page: open it by 127.0.0.1.", "bad");
  $("start").disabled = true;
}
while (true) {
  await wait(500);
  if (!running || !link) continue;
  const failed = ["failed", "closed"].includes(link.peer.connectionState);
  if (!failed && performance.now() - link.heard < SILENCE) continue;
  say("The connection to fv2v on this machine is lost. Trying again …", "bad");
  await connect();
}
