// What the page does beside htmx: times in the reader's zone, questions before what cannot be undone, errors of requests.
"use strict";

(function () {
  const KEY = "bodytag-zone";

  function local(time) {
    const format = new Intl.DateTimeFormat(undefined, {
      year: "numeric", month: "2-digit", day: "2-digit",
      hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false, timeZoneName: "short",
    });
    return format.format(time);
  }

  function utc(time) {
    return time.toISOString().slice(0, 19).replace("T", " ") + " UTC";
  }

  function isLocal() {
    return window.localStorage.getItem(KEY) === "local";
  }

  function showTimes(root) {
    for (const element of root.querySelectorAll("time[datetime]")) {
      const time = new Date(element.dateTime);
      if (Number.isNaN(time.getTime())) continue;
      element.textContent = isLocal() ? local(time) : utc(time);
      element.title = isLocal() ? utc(time) : local(time);
    }
  }

  function showZone(button) {
    button.textContent = isLocal() ? "Local time" : "UTC";
    button.setAttribute("aria-label", isLocal() ? "Times are local; show UTC" : "Times are UTC; show local time");
  }

  const zone = document.getElementById("zone");
  zone.hidden = document.querySelector("nav") === null;
  showZone(zone);
  showTimes(document);
  zone.addEventListener("click", function () {
    window.localStorage.setItem(KEY, isLocal() ? "utc" : "local");
    showZone(zone);
    showTimes(document);
  });
  document.body.addEventListener("htmx:afterSwap", function () { showTimes(document); });

  // A form or button with data-confirm asks first; with scripts off it does what it says.
  document.body.addEventListener("submit", function (event) {
    const from = event.submitter && event.submitter.dataset.confirm ? event.submitter : event.target;
    const question = from.dataset ? from.dataset.confirm : undefined;
    if (question && !window.confirm(question)) {
      event.preventDefault();
      event.stopPropagation();
    }
  }, true);

  // Selects and checkboxes with data-submit send their form when they change.
  document.body.addEventListener("change", function (event) {
    if (event.target.matches("[data-submit]")) event.target.form.requestSubmit();
  });
})();
