(() => {
  "use strict";
  const form = document.querySelector("nav form");
  const [input, count] = [form.querySelector("input"), form.querySelector("output")];
  const most = 2000;
  let found = [], at = -1, timer = 0;
  document.querySelector("nav").hidden = false;

  // Texts of one block, joined, so that a match may go over spans.
  const search = (word) => {
    const hits = [], needle = word.toLowerCase();
    for (const block of document.querySelectorAll("[data-t]")) {
      const walk = document.createTreeWalker(block, NodeFilter.SHOW_TEXT);
      const nodes = [];
      let text = "";
      for (let node; (node = walk.nextNode()); ) {
        if (node.parentElement.closest("[data-t]") !== block) continue;
        nodes.push([text.length, node]);
        text += node.data;
      }
      // Lower case may be longer: then places would not fit.
      let lower = text.toLowerCase();
      if (lower.length !== text.length) lower = text;
      for (let from = lower.indexOf(needle), n = 0; from >= 0; from = lower.indexOf(needle, from + needle.length)) {
        const end = from + needle.length, range = new Range();
        while (n + 1 < nodes.length && nodes[n + 1][0] <= from) n++;
        let last = n;
        while (last + 1 < nodes.length && nodes[last + 1][0] < end) last++;
        range.setStart(nodes[n][1], from - nodes[n][0]);
        range.setEnd(nodes[last][1], end - nodes[last][0]);
        hits.push(range);
        if (hits.length >= most) return hits;
      }
    }
    return hits;
  };

  const mark = (name, ranges) => {
    if (!window.CSS || !CSS.highlights) return;
    CSS.highlights.set(name, new Highlight(...ranges));
  };

  const go = (to) => {
    if (!found.length) return;
    at = (to + found.length) % found.length;
    const range = found[at];
    for (let one = range.startContainer.parentElement; one; one = one.parentElement) if (one.tagName === "DETAILS") one.open = true;
    mark("current", [range]);
    range.startContainer.parentElement.scrollIntoView({ block: "center" });
    count.value = `${at + 1} of ${found.length}${found.length >= most ? "+" : ""}`;
  };

  const begin = () => {
    const word = input.value;
    found = word.length > 1 ? search(word) : [];
    at = -1;
    mark("found", found);
    mark("current", []);
    count.value = word.length > 1 && !found.length ? "nothing found" : "";
    go(0);
  };

  input.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(begin, 150);
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    go(at + 1);
  });
  form.addEventListener("click", (event) => {
    const way = event.target.dataset && event.target.dataset.way;
    if (way === "back") go(at - 1);
    if (way === "open" || way === "close") for (const one of document.querySelectorAll("details")) one.open = way === "open";
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && event.target === document.body) {
      event.preventDefault();
      input.focus();
    }
  });
  // What is folded is printed as well.
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((one) => (one.open = true)));
})();
