// One player for the page: a track is a lane of a clip, and changing lanes keeps the position, so that A and B are heard
// at the same place. Without JavaScript the browser's own controls remain.
"use strict";
const byId = (id) => document.getElementById(id);
const clips = [...document.querySelectorAll(".clip")].map((section) => ({
  section,
  name: section.querySelector("h2").textContent,
  lanes: [...section.querySelectorAll(".lane")].map((lane) => ({
    lane,
    audio: lane.querySelector("audio"),
    pick: lane.querySelector(".pick"),
    label: lane.querySelector(".name"),
    name: lane.dataset.system,
  })),
}));
let clip = clips[0];
let track = clip.lanes[0];
let loop = false;

function choose(nextClip, nextTrack, at) {
  const old = track.audio;
  const playing = !old.paused;
  const sameClip = nextClip === clip;
  const time = at ?? (sameClip ? old.currentTime : 0);
  if (nextTrack.audio !== old) old.pause();
  clip = nextClip;
  track = nextTrack;
  for (const { audio } of clip.lanes) audio.preload = "auto";
  track.audio.loop = loop;
  track.audio.currentTime = Math.min(time, track.audio.duration || time);
  if (!sameClip) {
    byId("switch").replaceChildren(...clip.lanes.map((lane, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = i + 1;
      button.onclick = () => choose(clip, clip.lanes[i]);
      return button;
    }));
  }
  if (playing) play();
  show();
}

function play() {
  if (track.audio.ended) track.audio.currentTime = 0;
  track.audio.play().then(follow, () => {});
}

function toggle() {
  if (track.audio.paused) play();
  else track.audio.pause();
}

function seek(time) {
  track.audio.currentTime = Math.max(0, Math.min(time, track.audio.duration || 0));
  show();
}

function follow() {
  show();
  if (!track.audio.paused) requestAnimationFrame(follow);
}

function show() {
  const { audio } = track;
  const length = audio.duration || 0;
  document.body.classList.toggle("playing", !audio.paused);
  byId("play").setAttribute("aria-label", audio.paused ? "Play" : "Pause");
  for (const other of clips) {
    other.section.classList.toggle("current", other === clip);
    for (const { lane, pick } of other.lanes) {
      const current = lane === track.lane;
      lane.classList.toggle("current", current);
      pick.setAttribute("aria-pressed", current);
    }
  }
  clip.lanes.forEach(({ lane, label }, i) => {
    lane.querySelector(".head").style.left = `${length ? (100 * audio.currentTime) / length : 0}%`;
    const button = byId("switch").children[i];
    button.setAttribute("aria-pressed", lane === track.lane);
    button.setAttribute("aria-label", label.textContent);
  });
  if (byId("track").textContent !== track.label.textContent) byId("track").textContent = track.label.textContent;
  if (byId("clip").textContent !== clip.name) byId("clip").textContent = clip.name;
  byId("position").max = length;
  byId("position").value = audio.currentTime;
  byId("clock").textContent = `${audio.currentTime.toFixed(1)} / ${length.toFixed(1)} s`;
}

function step(by) {
  const next = clips[(clips.indexOf(clip) + by + clips.length) % clips.length];
  choose(next, next.lanes.find((lane) => lane.name === track.name) || next.lanes[0]);
  next.section.scrollIntoView({ block: "start" });
}

function toggleLoop() {
  loop = !loop;
  track.audio.loop = loop;
  byId("loop").setAttribute("aria-pressed", loop);
}

function toggleBlind() {
  const blind = document.body.classList.toggle("blind");
  byId("blind").setAttribute("aria-pressed", blind);
  track.audio.pause();
  for (const one of clips) {
    const rank = new Map(one.lanes.map((lane, i) => [lane, blind ? Math.random() : lane.place ?? i]));
    one.lanes.forEach((lane, i) => { if (blind) lane.place = i; });
    one.lanes.sort((a, b) => rank.get(a) - rank.get(b));
    const end = one.section.querySelector(".time");
    one.lanes.forEach(({ lane, pick, label, name }, i) => {
      end.before(lane);
      pick.querySelector("kbd").textContent = i + 1;
      label.textContent = blind ? `Track ${String.fromCharCode(65 + i)}` : name;
    });
  }
  choose(clip, clip.lanes[0], 0);
}

for (const one of clips) {
  for (const lane of one.lanes) {
    lane.audio.controls = false;
    lane.pick.onclick = () => { choose(one, lane); play(); };
    lane.lane.querySelector(".view").onclick = (event) => {
      const box = event.currentTarget.getBoundingClientRect();
      choose(one, lane, ((event.clientX - box.left) / box.width) * (lane.audio.duration || 0));
    };
    for (const event of ["pause", "ended", "loadedmetadata", "seeked"]) lane.audio.addEventListener(event, show);
  }
}
byId("play").onclick = toggle;
byId("loop").onclick = toggleLoop;
byId("blind").onclick = toggleBlind;
byId("position").oninput = (event) => seek(Number(event.target.value));

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const onControl = event.target.closest?.("button, a, summary, input");
  const key = event.key.toLowerCase();
  if (key >= "1" && key <= "9" && clip.lanes[key - 1]) choose(clip, clip.lanes[key - 1]);
  else if (key === " " && !onControl) toggle();
  else if (key === "arrowleft" && !onControl?.matches("input")) seek(track.audio.currentTime - 1);
  else if (key === "arrowright" && !onControl?.matches("input")) seek(track.audio.currentTime + 1);
  else if (key === "n") step(1);
  else if (key === "p") step(-1);
  else if (key === "l") toggleLoop();
  else if (key === "b") toggleBlind();
  else return;
  event.preventDefault();
});

document.body.classList.add("live");
const first = clip;
clip = null;
choose(first, first.lanes[0], 0);
