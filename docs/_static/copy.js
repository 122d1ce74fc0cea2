// A button on each block of code. It copies what one types: no prompts, and no output where there are prompts.
function typed(text) {
  const lines = text.trimEnd().split("\n");
  const prompt = /^(>>>|\.\.\.|\$)( |$)/;
  const shown = lines.some((line) => /^(>>>|\$) /.test(line)) ? lines.filter((line) => prompt.test(line)) : lines;
  return shown.map((line) => line.replace(prompt, "")).join("\n") + "\n";
}

for (const block of navigator.clipboard ? document.querySelectorAll("div.highlight") : []) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "copy";
  button.textContent = "copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(typed(block.querySelector("pre").textContent));
    button.textContent = "copied";
    setTimeout(() => (button.textContent = "copy"), 1500);
  });
  block.append(button);
}
