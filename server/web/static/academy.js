/* What htmx leaves to a page: the composer, the transcript's scroll, and rest for hidden tabs. */
(() => {
  "use strict";

  const near = 160;
  const atEnd = () => window.innerHeight + window.scrollY >= document.body.scrollHeight - near;
  const toEnd = () => window.scrollTo({ top: document.body.scrollHeight });

  document.addEventListener("htmx:before:request", (event) => {
    const source = event.detail.ctx && event.detail.ctx.sourceEvent;
    if (document.hidden && source && source.type === "every") event.preventDefault();
  });

  let follow = false;
  document.addEventListener("htmx:before:sse:message", () => { follow = atEnd(); });
  document.addEventListener("htmx:after:sse:message", () => { if (follow) toEnd(); });

  document.addEventListener("htmx:after:request", (event) => {
    const form = event.target;
    const answer = event.detail.ctx && event.detail.ctx.response;
    if (!(form instanceof HTMLFormElement) || !form.matches("[data-composer]")) return;
    if (answer && answer.status < 400) {
      form.reset();
      fit(form.querySelector("textarea"));
      requestAnimationFrame(toEnd);
    }
  });

  const fit = (area) => {
    if (!area) return;
    area.rows = Math.min(8, Math.max(1, area.value.split("\n").length));
  };
  document.addEventListener("input", (event) => {
    if (event.target.matches("[data-composer] textarea")) fit(event.target);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    if (!event.target.matches("[data-composer] textarea")) return;
    event.preventDefault();
    event.target.form.requestSubmit();
  });
  document.addEventListener("click", (event) => {
    const asked = event.target.closest("[data-ask]");
    const area = document.querySelector("[data-composer] textarea");
    if (!asked || !area) return;
    area.value = asked.dataset.ask;
    fit(area);
    area.focus();
  });

  if (document.querySelector("[data-follow]")) window.addEventListener("load", toEnd);
})();
