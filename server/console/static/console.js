"use strict";
// Trusted Types forbid HTML from texts: rows are cloned from a template and filled by textContent.
(() => {
  const root = document.documentElement;
  root.dataset.js = "";

  const two = (n) => String(n).padStart(2, "0");
  const localTimes = (within) => {
    for (const time of within.querySelectorAll("time[datetime]:not([data-ago])")) {
      const at = new Date(time.dateTime);
      const clock = [at.getHours(), at.getMinutes(), at.getSeconds()].map(two).join(":");
      const day = [at.getFullYear(), two(at.getMonth() + 1), two(at.getDate())].join("-");
      time.textContent = at.toDateString() === new Date().toDateString() ? clock : `${day} ${clock}`;
    }
  };
  localTimes(document);

  const again = document.querySelectorAll("img[data-again]");
  if (again.length)
    setInterval(() => {
      if (!document.hidden) for (const img of again) img.src = img.src.replace(/(&at=\d+)?$/, `&at=${Date.now()}`);
    }, 10_000);

  const enter = document.getElementById("enter");
  if (enter) {
    enter.elements.ticket.value = location.hash.slice(1);
    history.replaceState(null, "", location.pathname);
    enter.submit();
  }
})();
