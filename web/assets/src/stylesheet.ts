// Style sheets made by scripts, in the one way that a content security policy
// of style-src 'self' allows: constructed sheets. The bundler puts
// styleElement in the place of document.createElement("style") in xterm.js.

/** An element that looks enough like a <style>: its text is a sheet of the document while it is there. */
export function styleElement(document: Document): HTMLElement {
  const element = document.createElement("template");
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets.push(sheet);
  Object.defineProperty(element, "textContent", {
    get: () => "",
    set: (css: string) => sheet.replaceSync(css),
  });
  const remove = element.remove.bind(element);
  element.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((s) => s !== sheet);
    remove();
  };
  return element;
}
