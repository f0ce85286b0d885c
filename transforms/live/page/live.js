// Speech from the microphone over /v1/stream, recordings over /v1/audio/transcriptions.

const get = (id) => document.getElementById(id);
const said = get("said");
const status = get("status");
const speak = get("speak");
const saves = [...document.querySelectorAll("[data-save]")];

let model = "";
let result = null;   // what can be saved: {srt, vtt, json, name}
let hear = null;     // plays [start, end] of what the text is of, in seconds
let line = null;     // the microphone and its socket, while somebody speaks

function tell(text, wrong = false) {
  status.textContent = text;
  status.classList.toggle("wrong", wrong);
}

function clear(name) {
  said.replaceChildren();
  result = { name };
  saves.forEach((button) => (button.disabled = true));
}

function done(formats) {
  Object.assign(result, formats);
  saves.forEach((button) => (button.disabled = false));
}

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

function paragraph(id, start, speaker) {
  let found = document.getElementById(id);
  if (!found) {
    found = element("p", { id });
    said.append(found);
  }
  const time = element("span", { className: "time", textContent: clock(start) + (speaker ? ` ${speaker}` : "") });
  found.replaceChildren(time);
  return found;
}

function partial(event) {
  const place = paragraph(`u${event.utterance}`, event.start);
  place.setAttribute("aria-busy", "true");
  place.append(event.stable, element("span", { className: "tail", textContent: event.tail }));
}

// The text as it stands, each of its words a button that plays it.
function whole(id, start, text, words, speaker) {
  const place = paragraph(id, start, speaker);
  place.setAttribute("aria-busy", "false");
  let at = 0;
  for (const word of words) {
    const begin = text.indexOf(word.word, at);
    if (begin < 0) continue;
    const sure = word.confidence ?? 1;
    const className = sure < 0.4 ? "word doubtful" : sure < 0.7 ? "word unsure" : "word";
    const button = element("button", { type: "button", className, textContent: word.word });
    if (word.start === null) button.disabled = true;
    else button.onclick = () => play(button, word.start, word.end);
    if (word.confidence !== null) button.title = `${clock(word.start ?? start)}, ${Math.round(100 * sure)} % sure`;
    place.append(text.slice(at, begin), button);
    at = begin + word.word.length;
  }
  place.append(text.slice(at));
}

function final(event) {
  if (event.error) {
    const place = paragraph(`u${event.utterance}`, event.start);
    place.append(element("span", { className: "wrong", textContent: event.error }));
  } else if (event.text) {
    whole(`u${event.utterance}`, event.start, event.text, event.words);
  } else {
    document.getElementById(`u${event.utterance}`)?.remove();
  }
}

let lit = null;
function play(button, start, end) {
  lit?.classList.remove("lit");
  (lit = button).classList.add("lit");
  hear?.(start, end, () => button.classList.remove("lit"));
}

// What was said into the microphone, to hear words of it.
class Heard {
  constructor(rate) {
    this.rate = rate;
    this.pieces = [];
    this.context = null;
  }

  play(start, end, ended) {
    this.context ??= new AudioContext();
    const first = Math.max(0, Math.floor((start - 0.05) * this.rate));
    const samples = new Float32Array(Math.max(1, Math.ceil((end - start + 0.1) * this.rate)));
    let at = 0;
    for (const piece of this.pieces) {
      const from = Math.max(first, at), to = Math.min(first + samples.length, at + piece.length);
      if (from < to) samples.set(piece.subarray(from - at, to - at), from - first);
      at += piece.length;
    }
    const buffer = this.context.createBuffer(1, samples.length, this.rate);
    buffer.copyToChannel(samples, 0);
    this.source?.stop();
    this.source = new AudioBufferSourceNode(this.context, { buffer });
    this.source.onended = ended;
    this.source.connect(this.context.destination);
    this.source.start();
  }
}

async function start() {
  clear("speech");
  speak.disabled = true;
  try {
    const asked = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio: asked });
    const context = new AudioContext();
    await context.audioWorklet.addModule("page/microphone.js");
    const heard = new Heard(context.sampleRate);
    hear = (...word) => heard.play(...word);
    const query = new URLSearchParams({ format: "f32", rate: context.sampleRate, formats: "srt,vtt" });
    if (get("language").value.trim()) query.set("language", get("language").value.trim());
    const address = new URL(`v1/stream?${query}`, location.href);
    address.protocol = address.protocol.replace("http", "ws");
    const key = get("key").value.trim();
    const socket = new WebSocket(address, key ? ["realtime", `openai-insecure-api-key.${key}`] : []);
    const finals = [];
    const microphone = new AudioWorkletNode(context, "microphone");
    microphone.port.onmessage = ({ data }) => {
      if (socket.readyState !== WebSocket.OPEN || !line) return;
      heard.pieces.push(data);
      socket.send(data);
    };
    socket.onopen = () => {
      context.createMediaStreamSource(stream).connect(microphone);
      tell("Listening. Speak; choose “Stop” when all is said.");
    };
    socket.onmessage = ({ data }) => {
      const event = JSON.parse(data);
      if (event.type === "partial") partial(event);
      if (event.type === "final") { finals.push(event); final(event); }
      if (event.type === "error") { tell(event.error.message, true); if (event.error.code === "invalid_api_key") get("keyed").hidden = false; }
      if (event.type === "ended") {
        done({ srt: event.srt, vtt: event.vtt, json: { ...event, utterances: finals, srt: undefined, vtt: undefined } });
        tell(event.text ? "Done. Choose a word to hear it." : "Nothing was said.");
      }
    };
    socket.onclose = () => stop(true);
    socket.onerror = () => tell("The server cannot be reached.", true);
    line = { socket, stream, context };
    speak.textContent = "Stop";
    speak.setAttribute("aria-pressed", "true");
  } catch (error) {
    tell(error.name === "NotAllowedError" ? "The microphone may not be used: allow it for this page." : `The microphone cannot be used: ${error.message}`, true);
  }
  speak.disabled = false;
}

function stop(closed = false) {
  if (!line) return;
  const { socket, stream, context } = line;
  line = null;
  stream.getTracks().forEach((track) => track.stop());
  context.close();
  if (!closed) {
    socket.send(JSON.stringify({ type: "end" }));
    tell("Reading the last of it…");
  }
  speak.textContent = "Speak";
  speak.setAttribute("aria-pressed", "false");
}

async function transcribe(file) {
  stop();
  clear(file.name.replace(/\.[^.]*$/, ""));
  tell(`Reading ${file.name}…`);
  const form = new FormData();
  form.append("file", file, file.name);
  form.append("model", model);
  form.append("response_format", "verbose_json");
  for (const one of ["word", "segment"]) form.append("timestamp_granularities[]", one);
  for (const one of ["srt", "vtt"]) form.append("include[]", one);
  if (get("language").value.trim()) form.append("language", get("language").value.trim());
  const key = get("key").value.trim();
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  try {
    const answer = await fetch("v1/audio/transcriptions", { method: "POST", body: form, headers });
    const body = await answer.json();
    if (!answer.ok) {
      if (answer.status === 401) get("keyed").hidden = false;
      throw new Error(body.error.message);
    }
    const player = new Audio(URL.createObjectURL(file));
    hear = (start, end, ended) => {
      player.currentTime = Math.max(0, start - 0.05);
      player.ontimeupdate = () => { if (player.currentTime > end + 0.05) { player.pause(); ended(); } };
      player.play();
    };
    let at = 0;
    for (const [index, segment] of body.segments.entries()) {
      const words = [];
      while (at < body.words.length && segment.text.includes(body.words[at].word) && (body.words[at].start ?? 0) <= segment.end)
        words.push(body.words[at++]);
      whole(`u${index}`, segment.start, segment.text, words, segment.speaker);
    }
    const { srt, vtt, ...json } = body;
    done({ srt, vtt, json });
    tell(body.text ? "Done. Choose a word to hear it." : "Nobody speaks in it.");
  } catch (error) {
    tell(error.message, true);
  }
}

speak.onclick = () => (line ? stop() : start());
get("file").onchange = ({ target }) => { if (target.files[0]) transcribe(target.files[0]); target.value = ""; };
get("controls").onsubmit = (event) => event.preventDefault();
for (const button of saves) {
  button.onclick = () => {
    const form = button.dataset.save;
    const text = form === "json" ? JSON.stringify(result.json, null, 1) : result[form];
    const link = element("a", { href: URL.createObjectURL(new Blob([text])), download: `${result.name}.${form}` });
    link.click();
    URL.revokeObjectURL(link.href);
  };
}
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.toggle("dropping", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files[0]) transcribe(event.dataTransfer.files[0]);
  });
}
fetch("v1/models").then((answer) => answer.json()).then((body) => (model = body.data[0].id)).catch(() => tell("The server cannot be reached.", true));
