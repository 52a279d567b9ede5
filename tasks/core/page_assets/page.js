
(() => {
  "use strict";
  const form = document.querySelector("form");
  const { words, state, by, down } = form.elements;
  const count = form.querySelector("output");
  const body = document.querySelector("tbody");
  const heads = [...document.querySelectorAll("thead th")];
  const rows = [...body.rows].map((row) => ({
    row,
    state: row.dataset.state,
    text: row.textContent.toLowerCase(),
    order: [...row.cells].map((cell) => {
      const said = cell.dataset.order;
      return said !== "" && isFinite(said) ? Number(said) : said.toLowerCase();
    }),
  }));
  const names = new Intl.Collator(undefined, { numeric: true });

  function compare(a, b) {
    if ((a === "") !== (b === "")) return a === "" ? 2 : -2;
    if (typeof a === "number" && typeof b === "number") return Math.sign(a - b);
    return Math.sign(names.compare(a, b));
  }

  function sorted() {
    const column = Number(by.value);
    const sign = down.checked ? -1 : 1;
    return [...rows].sort((a, b) => {
      const order = compare(a.order[column], b.order[column]);
      // What is unknown is last either way.
      return Math.abs(order) === 2 ? order : order * sign;
    });
  }

  function show() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const each of rows) {
      const fits = !state.value || each.state === state.value;
      each.row.hidden = !(fits && wanted.every((word) => each.text.includes(word)));
      shown += each.row.hidden ? 0 : 1;
    }
    body.append(...sorted().map((each) => each.row));
    heads.forEach((head, number) => {
      const order = down.checked ? "descending" : "ascending";
      if (number === Number(by.value)) head.setAttribute("aria-sort", order);
      else head.removeAttribute("aria-sort");
    });
    count.value = `${shown} of ${rows.length}`;
    remember();
  }

  // In the address, so that it outlives loading the page again, and can be sent to somebody.
  function remember() {
    const said = new URLSearchParams();
    if (words.value) said.set("words", words.value);
    if (state.value) said.set("state", state.value);
    if (by.value !== "0") said.set("by", by.value);
    if (down.checked) said.set("down", "1");
    history.replaceState(null, "", said.size ? `#${said}` : location.pathname + location.search);
  }

  function recall() {
    const said = new URLSearchParams(location.hash.slice(1));
    words.value = said.get("words") ?? "";
    for (const field of [state, by]) {
      const value = said.get(field.name);
      if ([...field.options].some((option) => option.value === value)) field.value = value;
    }
    down.checked = said.has("down");
  }

  heads.forEach((head, number) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => {
      down.checked = number === Number(by.value) && !down.checked;
      by.value = String(number);
      show();
    });
    head.append(button);
  });
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  recall();
  form.hidden = false;
  show();
})();
