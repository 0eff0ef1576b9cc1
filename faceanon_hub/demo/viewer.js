// The result. A face is a button in the picture; a slider uncovers the original, without frames; a rectangle that is
// drawn is hidden, or searched for a face. `element`, `trigger`, `props` and `watch` are Gradio's.
const STEP = 0.02; // of the picture, an arrow key moves the rectangle
const find = (name) => element.querySelector(`.${name}`);
const [viewer, frame, marks, slider, draw, look] = ["viewer", "frame", "marks", "slider", "draw", "look"].map(find);
const touched = matchMedia("(pointer: coarse)").matches ? "_touch" : "";
let means = draw; // the button that says what a rectangle is for
let drawn = null; // the rectangle: left, top, right, bottom, 0 to 1
let anchor = null;

const address = (path) => `${window.gradio_config?.root ?? ""}/gradio_api/file=${path}`;
const percent = (value) => `${100 * value}%`;
const make = (kind, name, text = "") => Object.assign(document.createElement(kind), { className: name, textContent: text });
// Numbers are those of the last search; a place is one of the photo, whatever was found in it.
const send = (event, index) => trigger(event, { index, value: props.value.faces_token });
const point = (box) => trigger(means === look ? "submit" : "input", { index: box, value: props.value.token });
const hint = () => (find("hint").textContent = props.value.words[`hint${touched}`]);

function lay(mark, [left, top, right, bottom]) {
  Object.assign(mark.style, {
    left: percent(left), top: percent(top), width: percent(right - left), height: percent(bottom - top),
  });
  return mark;
}

function choose(number) {
  for (const button of document.querySelectorAll("[data-face]")) {
    button.setAttribute("aria-pressed", String(button.dataset.face === String(number)));
  }
}

function faceButton(name, number, label) {
  const button = make("button", name);
  Object.assign(button, { type: "button", title: label });
  button.setAttribute("aria-label", label);
  button.dataset.face = number;
  button.onclick = () => {
    choose(number);
    send("select", number);
  };
  return button;
}

function render() {
  const view = props.value;
  viewer.hidden = !view;
  if (!view) return;
  const before = viewer.dataset;
  if (before.token !== view.token) {
    slider.value = 0;
    // One that opens beside others lies out of sight.
    if (!view.words.look) setTimeout(() => viewer.scrollIntoView({ block: "nearest", behavior: "smooth" }), 200);
  }
  else if (view.chosen !== null && before.chosen !== String(view.chosen)) showChosen();
  before.chosen = view.chosen;
  viewer.dataset.token = view.token;
  for (const name of ["before", "after"]) {
    const picture = find(name);
    if (picture.getAttribute("src") !== address(view[name])) picture.src = address(view[name]);
    picture.alt = view.words[name];
  }
  frame.style.aspectRatio = `${view.size[0]} / ${view.size[1]}`;
  frame.style.setProperty("--ratio", view.size[0] / view.size[1]);
  find("word-after").textContent = view.words.after;
  find("word-before").textContent = view.words.before;
  slider.setAttribute("aria-label", view.words.compare);
  draw.textContent = view.words.draw;
  look.textContent = view.words.look;
  look.hidden = !view.words.look;
  marks.replaceChildren();
  view.faces.forEach((face, number) => {
    const mark = lay(faceButton(`face ${face.status}`, number, face.label), face.box);
    // The keyboard goes through the small pictures below, where there are some; a small face lies over a large one.
    mark.tabIndex = view.faces.length > 1 ? -1 : 0;
    mark.style.zIndex = 1000 - Math.round(1000 * (face.box[2] - face.box[0]));
    mark.append(make("span", "number", String(number + 1)));
    marks.append(mark);
  });
  view.zones.forEach((box, number) => {
    const zone = lay(make("div", "zone"), box);
    const remove = make("button", "remove", "×");
    Object.assign(remove, { type: "button", title: view.words.unhide, onclick: () => send("clear", number) });
    remove.setAttribute("aria-label", `${view.words.unhide} ${number + 1}`);
    zone.append(remove);
    marks.append(zone);
  });
  if (view.faces.length) choose(view.chosen);
  stopDrawing();
  compare();
}

// What can be done with a face that was clicked lies below, on a phone out of sight.
function showChosen() {
  setTimeout(() => document.querySelector("#face")?.scrollIntoView({ block: "nearest", behavior: "smooth" }), 200);
}

function compare() {
  frame.style.setProperty("--cut", `${100 - slider.value}%`);
  frame.classList.toggle("comparing", slider.value > 0);
}

function startDrawing(button) {
  means = button;
  slider.value = 0;
  compare();
  viewer.classList.add("drawing");
  for (const other of [draw, look]) other.setAttribute("aria-pressed", String(other === button));
  find("hint").textContent = props.value.words[`${button === look ? "looking" : "drawing"}${touched}`];
  frame.tabIndex = 0;
  frame.focus({ preventScroll: true });
}

function stopDrawing() {
  viewer.classList.remove("drawing");
  for (const button of [draw, look]) button.setAttribute("aria-pressed", "false");
  hint();
  frame.removeAttribute("tabindex");
  element.querySelector(".draft")?.remove();
  drawn = anchor = null;
}

function sketch(box) {
  drawn = box;
  const draft = element.querySelector(".draft") ?? frame.appendChild(make("div", "draft"));
  lay(draft, box);
}

function place(event) {
  const area = frame.getBoundingClientRect();
  const share = (value, low, size) => Math.min(Math.max((value - low) / size, 0), 1);
  return [share(event.clientX, area.left, area.width), share(event.clientY, area.top, area.height)];
}

function done() {
  if (!drawn || drawn[2] - drawn[0] < 0.005 || drawn[3] - drawn[1] < 0.005) return;
  point(drawn);
  stopDrawing(); // the place is seen as it is until it is hidden
  means.focus({ preventScroll: true });
}

frame.addEventListener("pointerdown", (event) => {
  if (!viewer.classList.contains("drawing")) return;
  event.preventDefault();
  frame.setPointerCapture(event.pointerId);
  anchor = place(event);
});
frame.addEventListener("pointermove", (event) => {
  if (!anchor) return;
  const [x, y] = place(event);
  sketch([Math.min(x, anchor[0]), Math.min(y, anchor[1]), Math.max(x, anchor[0]), Math.max(y, anchor[1])]);
});
frame.addEventListener("pointerup", () => {
  if (anchor) done();
  anchor = null;
});
frame.addEventListener("keydown", (event) => {
  if (!viewer.classList.contains("drawing")) return;
  const move = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key];
  if (event.key === "Escape") stopDrawing();
  else if (event.key === "Enter") done();
  else if (move) {
    const [x, y] = move;
    let [left, top, right, bottom] = drawn ?? [0.4, 0.4, 0.6, 0.6];
    if (drawn && !event.shiftKey) [left, top] = [left + x, top + y];
    if (drawn) [right, bottom] = [right + x, bottom + y];
    if (left >= 0 && top >= 0 && right <= 1 && bottom <= 1 && right > left && bottom > top) sketch([left, top, right, bottom]);
  } else return;
  event.preventDefault();
});
for (const button of [draw, look]) {
  button.addEventListener("click", () => (button.ariaPressed === "true" ? stopDrawing() : startDrawing(button)));
}
slider.addEventListener("input", compare);
// What was worked on is lost with the page: a photo, a job that runs, a result that may not be stored yet.
window.onbeforeunload = (event) => {
  if (document.querySelector(".viewer:not([hidden]), #stop, #stop-film, #archive, #movie-file")) event.preventDefault();
};
watch("value", render);
render();
