"use strict";
// A photo as small as a card needs: a camera's has ten megabytes, and where it was taken stands in it.
(() => {
  const WIDE = 300, HIGH = 400;
  const QUALITIES = [0.8, 0.6, 0.4, 0.2];  // the first is enough for nearly every face
  const SENT_MAX = 45000;  // characters: what a form may carry, with all that stands beside it
  const form = document.getElementById("card");
  const pick = document.getElementById("f-photo");
  const said = document.getElementById("h-photo");
  const usual = said.textContent;
  pick.addEventListener("change", async () => {
    form.elements.photo.value = "";
    said.className = "hint";
    said.textContent = usual;
    pick.removeAttribute("aria-invalid");
    const [file] = pick.files;
    if (!file) return;
    try {
      const whole = await createImageBitmap(file);
      // The middle of it, as wide or as high as there is.
      const scale = Math.min(whole.width / WIDE, whole.height / HIGH);
      const wide = WIDE * scale, high = HIGH * scale;
      const canvas = Object.assign(document.createElement("canvas"), { width: WIDE, height: HIGH });
      canvas.getContext("2d").drawImage(whole, (whole.width - wide) / 2, (whole.height - high) / 2, wide, high, 0, 0, WIDE, HIGH);
      let made = "";
      for (const quality of QUALITIES) {
        made = canvas.toDataURL("image/jpeg", quality);
        if (made.length < SENT_MAX) break;
      }
      form.elements.photo.value = made;
      said.textContent = file.name;
    } catch {
      said.className = "mistake";
      said.textContent = said.dataset.wrong;
      pick.setAttribute("aria-invalid", "true");
      pick.value = "";
    }
  });
})();
