// What the pages do beyond HTML: they work without it, but don't follow along by themselves.

// Copy buttons.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  button.textContent = "Copied";
});

// #live is fetched anew every two seconds, and replaced where it changed. Nothing is replaced under somebody who
// types in it or listens to it.
const live = () => document.getElementById("live");
const busy = (part) => part.contains(document.activeElement) || [...part.querySelectorAll("audio")].some((sound) => !sound.paused);
async function follow() {
  if (live() && !document.hidden && !busy(live())) {
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
      if (answer.ok && fresh && !busy(live()) && fresh.innerHTML !== live().dataset.seen) {
        live().innerHTML = fresh.innerHTML;
        live().dataset.seen = fresh.innerHTML;
      }
    } catch {
      // The server is away; the next look may find it.
    }
  }
  setTimeout(follow, 2000);
}
if (live()) {
  live().dataset.seen = live().innerHTML;
  setTimeout(follow, 2000);
}

// A link's token stands behind its #, which browsers send to nobody. Put it into the form and out of the address.
const tokenForm = document.querySelector("form[data-token-form]");
if (tokenForm && location.hash.length > 1) {
  tokenForm.elements.token.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  tokenForm.requestSubmit();
}

// Passkeys: the device answers what the form asks it with, and the form takes the answer along.
async function askDevice(form) {
  const status = form.querySelector("[role=status]"), asked = JSON.parse(form.dataset.options);
  try {
    status.textContent = "Your device asks you.";
    const answer = form.dataset.passkey === "create"
      ? await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(asked) })
      : await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(asked) });
    form.elements.passkey.value = JSON.stringify(answer.toJSON());
    form.submit();
  } catch (error) {
    status.textContent = `No passkey was used: ${error.message}`;
  }
}
const deviceForm = document.querySelector("form[data-passkey]");
if (deviceForm && window.PublicKeyCredential?.parseRequestOptionsFromJSON) {
  deviceForm.addEventListener("submit", (event) => {
    if (deviceForm.dataset.passkey !== "create") return;
    event.preventDefault();
    askDevice(deviceForm);
  });
  const button = deviceForm.querySelector("[data-use-passkey]");
  if (button) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const { name, password } = deviceForm.elements; // form.elements: a form's own name is another thing
      if (name.reportValidity() && password.reportValidity()) askDevice(deviceForm);
    });
  }
}
