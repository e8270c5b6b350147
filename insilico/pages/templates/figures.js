"use strict";
(() => {
  const PRINTED = 680; // CSS pixels between the margins of an A4 or letter page
  const plots = [...document.querySelectorAll(".plot[data-figure]")];
  const config = { displayModeBar: false, responsive: true, showTips: false };

  for (const plot of plots) {
    const spec = JSON.parse(document.getElementById("spec-" + plot.dataset.figure).textContent);
    Plotly.newPlot(plot, spec.data, spec.layout, config);
  }

  window.addEventListener("beforeprint", () => {
    for (const plot of plots) Plotly.relayout(plot, { width: PRINTED, autosize: false });
  });
  window.addEventListener("afterprint", () => {
    for (const plot of plots) Plotly.relayout(plot, { width: null, autosize: true });
  });
})();
