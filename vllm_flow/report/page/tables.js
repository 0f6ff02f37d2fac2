// Tables are there without this; it lets them be sorted by a column.
const sortable = (table) => {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = make("button", { type: "button" }, ...head.childNodes);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent;
      const rows = [...body.rows].sort((a, b) => compared(key(a), key(b), down));
      body.append(...rows);
    });
  });
};
// What has no value stays last, whichever way.
const compared = (a, b, down) => {
  if (a === "" || b === "") return (a === "") - (b === "");
  const numeric = Number.isFinite(Number(a)) && Number.isFinite(Number(b));
  const order = numeric ? Number(a) - Number(b) : a.localeCompare(b);
  return down ? -order : order;
};
