"use strict";
// Makes the tables sortable. Without this script every table is still readable.
document.querySelectorAll("table").forEach((table) => {
  const body = table.tBodies[0];
  if (body.rows.length < 2 || !body.querySelector("[data-value]")) return;
  const heads = Array.from(table.tHead.rows[0].cells);
  const original = Array.from(body.rows);
  const value = (row, k) => {
    const cell = row.cells[k];
    return cell.dataset.value === undefined ? null : parseFloat(cell.dataset.value);
  };
  heads.forEach((head, k) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const order = { none: "descending", descending: "ascending", ascending: "none" }[head.ariaSort || "none"];
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (order === "none") {
        body.append(...original);
        return;
      }
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const rows = original.slice().sort((a, b) => {
        const x = value(a, k), y = value(b, k);
        if (x !== null && y !== null) return sign * (x - y);
        if (x !== null || y !== null) return x === null ? 1 : -1; // what has no number stays below
        return sign * a.cells[k].textContent.localeCompare(b.cells[k].textContent);
      });
      body.append(...rows);
    });
  });
});
// Makes the models of a figure switchable. Without this script all of them are shown.
document.querySelectorAll("figure svg").forEach((svg) => {
  const groups = new Map();
  svg.querySelectorAll('[id*="-model-"]').forEach((part) => {
    const name = part.id.slice(part.id.indexOf("-model-") + 7).replace(/-band$/, "");
    groups.set(name, [...(groups.get(name) || []), part]);
  });
  if (groups.size < 2) return;
  const field = document.createElement("fieldset");
  field.className = "switch";
  field.append(Object.assign(document.createElement("legend"), { textContent: "Show" }));
  groups.forEach((parts, name) => {
    const label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
    box.addEventListener("change", () => parts.forEach((part) => { part.style.display = box.checked ? "" : "none"; }));
    label.append(box, name.replaceAll("_", " "));
    field.append(label);
  });
  svg.closest("figure").prepend(field);
});
