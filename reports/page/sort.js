/* A convenience: columns sort when their heading is pressed, and a printed page has everything opened. */
(() => {
  const number = text => {
    const found = text.replace(/,(?=\d{3})/g, "").replace(/−/g, "-").match(/^[^\d+-]*([+-]?\d+(\.\d+)?(e[+-]?\d+)?)/i);
    return found ? parseFloat(found[1]) : NaN;
  };
  const order = (a, b) => {
    const x = number(a), y = number(b);
    if (isNaN(x) || isNaN(y)) return isNaN(x) && isNaN(y) ? a.localeCompare(b) : isNaN(x) ? 1 : -1;
    return x - y;
  };
  for (const table of document.querySelectorAll("main table")) {
    const heads = table.tHead && table.tHead.rows.length === 1 ? [...table.tHead.rows[0].cells] : [];
    const body = table.tBodies[0];
    const plain = body && body.rows.length > 2 && heads.every(head => head.colSpan === 1) &&
      [...body.rows].every(row => row.cells.length === heads.length && row.cells[0].textContent.trim());
    if (!plain) continue;
    heads.forEach((head, column) => {
      if (!head.textContent.trim()) return;
      const button = document.createElement("button");
      button.type = "button";
      button.title = "sort by this column";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach(other => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const text = row => row.cells[column].textContent.trim();
        const rows = [...body.rows].sort((a, b) => order(text(a), text(b)));
        body.append(...(down ? rows.reverse() : rows));
      });
    });
  }
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach(item => { item.open = true; });
  });
  addEventListener("afterprint", () => closed.forEach(item => { item.open = false; }));
})();
