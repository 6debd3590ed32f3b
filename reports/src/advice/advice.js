// The panel "Which code?": looks up the answer to the chosen limits. All answers were computed when the page was made.
for (const panel of document.querySelectorAll(".advice")) {
  const { answers, grid } = JSON.parse(panel.querySelector("script").textContent);
  const selects = [...panel.querySelectorAll("select")];
  const key = "advice" + panel.dataset.panel;
  const answer = panel.querySelector(".answer");
  const show = () => {
    const place = selects.reduce((at, select) => at * select.options.length + select.selectedIndex, 0);
    const { head, lines } = answers[grid[place]];
    answer.querySelector("strong").textContent = head;
    answer.querySelector("ul").replaceChildren(...lines.map(line => {
      const item = document.createElement("li");
      item.textContent = line;
      return item;
    }));
  };
  // The choice is part of the page's address, like what tables show.
  const kept = (state.get(key) ?? "").split(" ").filter(Boolean).map(Number);
  selects.forEach((select, at) => {
    if (kept.length === selects.length && select.options[kept[at]]) select.selectedIndex = kept[at];
    select.addEventListener("change", () => {
      show();
      keep({ [key]: selects.map(other => other.selectedIndex).join(" ") });
    });
  });
  panel.querySelector(".limits").hidden = false;
  show();
}
