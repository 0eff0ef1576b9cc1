// What Gradio says of a job that waits or runs, in the language of the page: it has English for it alone.
() => {
  const words = WORDS;
  const spoken = navigator.languages.map((language) => language.split("-")[0].toLowerCase());
  const [queue, working] = words[spoken.find((language) => language in words) ?? "en"];
  const fill = (text, values) => values.reduce((filled, value) => filled.replace("{}", value), text);
  const translate = (node) => {
    const text = node.data
      .replace(/queue: (\d+)\/(\d+) \|/, (_, place, size) => `${fill(queue, [place, size])} |`)
      .replace("processing |", `${working} |`);
    if (text !== node.data) node.data = text;
  };
  const look = (node) => {
    if (node.nodeType === Node.TEXT_NODE) {
      if (node.parentElement?.closest('[data-testid="status-tracker"]')) translate(node);
    } else node.childNodes.forEach(look);
  };
  new MutationObserver((changes) => {
    for (const change of changes) {
      if (change.type === "characterData") look(change.target);
      else change.addedNodes.forEach(look);
    }
  }).observe(document.body, { childList: true, characterData: true, subtree: true });
}
