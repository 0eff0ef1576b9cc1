// The faces of the result, cut out of its picture by CSS. `element`, `trigger`, `props` and `watch` are Gradio's.
const SIDE = 72; // pixels
const strip = element.querySelector(".strip");
const address = (path) => `${window.gradio_config?.root ?? ""}/gradio_api/file=${path}`;
const make = (kind, name, text = "") => Object.assign(document.createElement(kind), { className: name, textContent: text });

function crop(face, view) {
  const [width, height] = view.size;
  const [left, top, right, bottom] = face.box;
  const side = Math.min(1.6 * Math.max((right - left) * width, (bottom - top) * height), width, height);
  const start = (low, high, whole) => Math.min(Math.max(((low + high) * whole - side) / 2, 0), whole - side);
  const zoom = SIDE / side;
  const picture = make("span", "crop");
  Object.assign(picture.style, {
    backgroundImage: `url("${address(view.after)}")`,
    backgroundSize: `${zoom * width}px ${zoom * height}px`,
    backgroundPosition: `${-zoom * start(left, right, width)}px ${-zoom * start(top, bottom, height)}px`,
  });
  return picture;
}

function render() {
  const view = props.value;
  const focused = document.activeElement?.closest?.(".strip") ? document.activeElement.dataset.face : null;
  strip.replaceChildren();
  if (!view || view.faces.length < 2) return;
  view.faces.forEach((face, number) => {
    const button = make("button", `thumbnail ${face.status}`);
    button.type = "button";
    button.dataset.face = number;
    button.setAttribute("aria-pressed", String(number === view.chosen));
    button.append(crop(face, view), make("span", "caption", face.caption));
    button.title = face.label;
    button.setAttribute("aria-label", face.label);
    button.onclick = () => {
      for (const other of document.querySelectorAll("[data-face]")) {
        other.setAttribute("aria-pressed", String(other.dataset.face === String(number)));
      }
      trigger("select", { index: number, value: view.faces_token });
    };
    strip.append(button);
  });
  if (focused !== null) strip.children[focused]?.focus();
}

watch("value", render);
render();
