// Renders a Mermaid source in the page and rewrites the SVG: every computed
// style becomes a presentation attribute and a class for its colour, and what
// is invisible, unused or only there for Mermaid's own styles is left out.
// The result has no style, no script and no address in it.

const NAMESPACE = 'http://www.w3.org/2000/svg';

// What is copied as it is, by element.
const GEOMETRY = {
  path: ['d'],
  rect: ['x', 'y', 'width', 'height', 'rx', 'ry'],
  circle: ['cx', 'cy', 'r'],
  ellipse: ['cx', 'cy', 'rx', 'ry'],
  line: ['x1', 'y1', 'x2', 'y2'],
  polyline: ['points'],
  polygon: ['points'],
};

// draw returns {svg, problems} for the source. config is Mermaid's, colours
// maps '#rrggbb' to the name of a colour.
async function draw(source, config, colours, title, description) {
  await Promise.all(['16px', 'bold 16px', 'italic 16px', 'italic bold 16px'].map((f) => document.fonts.load(f + ' Arimo')));
  mermaid.initialize(config);
  const holder = document.getElementById('holder');
  holder.textContent = '';
  const { svg } = await mermaid.render('diagram', source);
  holder.innerHTML = svg;
  return new Rewriter(holder.querySelector('svg'), colours, source).whole(title, description);
}

class Rewriter {
  constructor(root, colours, source) {
    this.root = root;
    this.colours = colours;
    this.problems = [];
    this.markers = new Map(); // Mermaid's id to ours
    this.edgeClasses = classesOf(source);
  }

  whole(title, description) {
    const [x, y, width, height] = this.root.getAttribute('viewBox').split(/[ ,]+/).map(Number);
    const body = this.children(this.root);
    const box = [Math.floor(x), Math.floor(y), Math.ceil(width + x - Math.floor(x)), Math.ceil(height + y - Math.floor(y))];
    const markers = [...this.markers].map(([id, name]) => this.marker(id, name)).join('');
    const svg =
      `<svg xmlns="${NAMESPACE}" viewBox="${box.join(' ')}" width="${box[2]}" height="${box[3]}" role="img" aria-labelledby="title" aria-describedby="desc"` +
      ` font-family="Arimo, Liberation Sans, Arial, Helvetica, sans-serif">\n` +
      `<title id="title">${escapeText(title)}</title>\n<desc id="desc">${escapeText(description)}</desc>\n` +
      (markers && `<defs>\n${markers}</defs>\n`) + body + `</svg>\n`;
    return { svg, width: box[2], problems: [...new Set(this.problems)] };
  }

  children(parent) {
    return [...parent.children].map((child) => this.element(child)).join('');
  }

  element(e) {
    const style = getComputedStyle(e);
    if (style.display === 'none' || style.visibility === 'hidden' || style.opacity === '0') return '';
    const steps = this.stepping ? '' : this.steps(e);
    if (!steps) return this.drawn(e, style);
    this.stepping = true; // a step's elements stand in none of another
    const inside = this.drawn(e, style);
    this.stepping = false;
    return inside && `<g class="${steps}">\n${inside}</g>\n`;
  }

  // steps are the classes s1, s2, … that Mermaid gives a node, and those of an
  // arrow and the words on it, which it leaves out.
  steps(e) {
    const edge = e.matches('.edgeLabel') ? e.querySelector('[data-id]') : e;
    const classes = new Set([...e.classList, ...(this.edgeClasses.get(edge?.getAttribute('data-id')) ?? [])]);
    return [...classes].filter((c) => /^s[1-9]\d*$/.test(c)).join(' ');
  }

  drawn(e, style) {
    switch (e.localName) {
      case 'g':
      case 'a':
      case 'svg':
        return this.group(e, style);
      case 'text':
        return this.text(e, style);
      case 'style': case 'defs': case 'marker': case 'title': case 'desc': case 'script': case 'symbol': case 'filter': case 'linearGradient':
        return '';
    }
    if (GEOMETRY[e.localName]) return this.shape(e, style);
    this.problems.push(`<${e.localName}> cannot be drawn without HTML or scripts: use another kind of label or diagram`);
    return '';
  }

  group(e, style) {
    const inside = this.children(e);
    const transform = tidyTransform(e.getAttribute('transform'));
    const opacity = style.opacity === '1' ? '' : ` opacity="${round(style.opacity)}"`;
    if (inside === '' || (!transform && !opacity)) return inside;
    return `<g${transform}${opacity}>\n${inside}</g>\n`;
  }

  shape(e, style) {
    const paint = this.paint(e, style, true);
    if (paint === null || empty(e)) return '';
    let out = `<${e.localName}`;
    for (const name of GEOMETRY[e.localName]) {
      const value = e.getAttribute(name) ?? styled(style, name);
      if (value !== null && value !== '' && !(value === '0' && name.startsWith('r'))) out += ` ${name}="${tidyNumbers(value)}"`;
    }
    return out + tidyTransform(e.getAttribute('transform')) + paint + this.ends(style) + '/>\n';
  }

  // paint is the class and the attributes for fill and stroke; null when
  // there is nothing to see.
  paint(e, style, stroked) {
    const classes = [], attributes = [];
    for (const property of stroked ? ['fill', 'stroke'] : ['fill']) {
      const colour = parseColour(style[property]);
      const width = property === 'stroke' ? parseFloat(style.strokeWidth) : 1;
      if (!colour || colour.alpha === 0 || width === 0) {
        if (property === 'fill') attributes.push('fill="none"');
        continue;
      }
      const name = this.colours[colour.hex];
      if (!name) this.problems.push(`${property} ${colour.hex} of <${e.localName} class="${e.getAttribute('class') ?? ''}"> is none of the diagrams' colours: leave out style, rect rgb(…) and classDef, and use the classes good, bad, accent and muted`);
      classes.push(`${property}-${name}`);
      attributes.push(`${property}="${colour.hex}"`);
      const alpha = colour.alpha * Number(property === 'fill' ? style.fillOpacity : style.strokeOpacity);
      if (alpha < 1) attributes.push(`${property}-opacity="${round(alpha)}"`);
      if (property === 'stroke') attributes.push(...strokeAttributes(style));
    }
    if (classes.length === 0) return null;
    const behindLabel = e.classList.contains('background'); // half transparent, a line would cross the words
    if (style.opacity !== '1' && !behindLabel) attributes.push(`opacity="${round(style.opacity)}"`);
    return ` class="${classes.join(' ')}" ${attributes.join(' ')}`;
  }

  // ends names the arrowheads of a line.
  ends(style) {
    let out = '';
    for (const [property, attribute] of [['markerStart', 'marker-start'], ['markerEnd', 'marker-end']]) {
      const id = /url\("?[^#]*#([^")]+)"?\)/.exec(style[property])?.[1];
      if (!id) continue;
      if (!this.markers.has(id)) this.markers.set(id, 'm' + (this.markers.size + 1));
      out += ` ${attribute}="url(#${this.markers.get(id)})"`;
    }
    return out;
  }

  marker(id, name) {
    const e = document.getElementById(id);
    let out = `<marker id="${name}"`;
    for (const attribute of ['viewBox', 'refX', 'refY', 'markerWidth', 'markerHeight', 'markerUnits', 'orient']) {
      if (e.hasAttribute(attribute)) out += ` ${attribute}="${tidyNumbers(e.getAttribute(attribute))}"`;
    }
    return `${out}>${this.children(e).trim()}</marker>\n`;
  }

  // text keeps the lines that Mermaid has broken it into, and the width that
  // each has here, so that it stays in its box in any other font.
  text(e, style) {
    const rows = [...e.children].filter((c) => c.localName === 'tspan' && c.textContent.trim() !== '');
    if (e.textContent.trim() === '') return '';
    let out = '<text';
    for (const name of ['x', 'y', 'dx', 'dy']) {
      const value = e.getAttribute(name);
      if (value !== null && parseFloat(value) !== 0) out += ` ${name}="${tidyNumbers(value)}"`;
    }
    out += tidyTransform(e.getAttribute('transform')) + this.paint(e, fillOf(rows[0] ?? e), false) + font(fillOf(rows[0] ?? e), style);
    if (rows.length === 0) return `${out}${width(e)}>${escapeText(squeeze(e.textContent))}</text>\n`;
    return `${out}>${rows.map((row) => this.row(row, fillOf(rows[0]))).join('')}</text>\n`;
  }

  row(row, first) {
    let out = '<tspan';
    for (const name of ['x', 'y', 'dx', 'dy']) {
      const value = row.getAttribute(name);
      if (value !== null) out += ` ${name}="${tidyNumbers(value)}"`;
    }
    const words = [...row.children];
    const plain = words.every((w) => sameFont(fillOf(w), first));
    const inside = plain ? escapeText(squeeze(row.textContent)) : words.map((w) => word(w, first)).join('');
    return `${out}${width(row)}>${inside}</tspan>`;
  }
}

// classesOf returns the classes by what has them, as lines of the form
// "class a,b s1" give them.
function classesOf(source) {
  const all = new Map();
  for (const [, ids, name] of source.matchAll(/^\s*class\s+([\w-]+(?:\s*,\s*[\w-]+)*)\s+(\w+)\s*;?\s*$/gm)) {
    for (const id of ids.split(/\s*,\s*/)) all.set(id, [...(all.get(id) ?? []), name]);
  }
  return all;
}

// word is a part of a line in another weight or slope.
function word(e, first) {
  const style = fillOf(e);
  const text = escapeText(e.textContent.replace(/\s+/g, ' '));
  return sameFont(style, first) ? text : `<tspan${weight(style)}>${text}</tspan>`;
}

const fillOf = (e) => getComputedStyle(e);
const sameFont = (a, b) => a.fontWeight === b.fontWeight && a.fontStyle === b.fontStyle;
const squeeze = (text) => text.replace(/\s+/g, ' ').trim();
const width = (e) => ` textLength="${round(e.getComputedTextLength())}" lengthAdjust="spacingAndGlyphs"`;

function weight(style) {
  return (Number(style.fontWeight) >= 600 ? ' font-weight="bold"' : '') + (style.fontStyle === 'italic' ? ' font-style="italic"' : '');
}

function font(style, outer) {
  let out = ` font-size="${round(parseFloat(style.fontSize))}"` + weight(style);
  if (outer.textAnchor !== 'start') out += ` text-anchor="${outer.textAnchor}"`;
  if (outer.dominantBaseline !== 'auto') out += ` dominant-baseline="${outer.dominantBaseline}"`;
  return out;
}

function strokeAttributes(style) {
  const out = [];
  const width = parseFloat(style.strokeWidth);
  if (width !== 1) out.push(`stroke-width="${round(width)}"`);
  const dashes = style.strokeDasharray.split(/[ ,]+/).map(parseFloat); // NaN for none
  if (dashes[0] > 0 && dashes[1] !== 0) out.push(`stroke-dasharray="${dashes.map(round).join(' ')}"`);
  if (style.strokeLinecap !== 'butt') out.push(`stroke-linecap="${style.strokeLinecap}"`);
  if (style.strokeLinejoin !== 'miter') out.push(`stroke-linejoin="${style.strokeLinejoin}"`);
  return out;
}

// styled is a length that a style sheet gave instead of an attribute.
function styled(style, name) {
  const value = style[name];
  return value && /px$/.test(value) && parseFloat(value) > 0 ? String(parseFloat(value)) : null;
}

// empty shapes are drawn by Mermaid behind labels without text.
function empty(e) {
  if (e.localName === 'rect') return !(parseFloat(e.getAttribute('width')) > 0 && parseFloat(e.getAttribute('height')) > 0);
  return e.localName === 'path' && !e.getAttribute('d');
}

function parseColour(text) {
  const parts = /^rgba?\(([\d.]+), ([\d.]+), ([\d.]+)(?:, ([\d.]+))?\)$/.exec(text);
  if (!parts) return null;
  const hex = '#' + parts.slice(1, 4).map((n) => Math.round(Number(n)).toString(16).padStart(2, '0')).join('');
  return { hex, alpha: parts[4] === undefined ? 1 : Number(parts[4]) };
}

// One decimal is a tenth of a pixel.
const round = (n) => String(Math.round(Number(n) * 10) / 10 + 0);
const tidyNumbers = (text) => text.replace(/-?\d*\.?\d+(?:e[-+]?\d+)?/gi, (n) => round(n));

function tidyTransform(text) {
  if (!text) return '';
  const tidy = tidyNumbers(text).replace(/,\s*/g, ' ').trim();
  return tidy === 'translate(0 0)' || tidy === 'translate(0)' || tidy === '' ? '' : ` transform="${tidy}"`;
}

function escapeText(text) {
  return text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');
}
