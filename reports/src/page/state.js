// What a reader has chosen is in the address, behind the `#`, so that the address can be shared: words and sets that
// filter, columns, orders, and the trial that is open.
const read = () => new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");
let state = read();

// Sets keys of the state; an empty value removes its key.
const keep = changes => {
  for (const [key, value] of Object.entries(changes)) {
    state.delete(key);
    for (const one of [value].flat()) if (one !== "" && one !== null && one !== undefined) state.append(key, one);
  }
  const text = state.toString();
  // A page that was opened from a file may not be allowed to change its address.
  try { history.replaceState(null, "", text ? "#" + text : location.pathname + location.search); } catch { }
};

// An element with attributes, listeners (`onclick`) and children; null stands for no child.
const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") made.toggleAttribute(name, value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter(child => child !== null));
  return made;
};

const inflated = async text => {
  const bytes = Uint8Array.from(atob(text), character => character.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return new Response(stream).text();
};

// The data in an element of the page; null if this browser cannot unpack it.
const embedded = async id => {
  const holder = document.getElementById(id);
  if (holder.type === "application/json") return JSON.parse(holder.textContent);
  if (typeof DecompressionStream === "undefined") return null;
  return JSON.parse(await inflated(holder.textContent));
};

const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
