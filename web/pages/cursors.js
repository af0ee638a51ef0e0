/** The cursors page: one arrow per person. Messages only set where an arrow should be; the frame loop moves it there. */

import { colouredFishName } from './fish.js';
import { element, make } from './shell.js';
import { openSwitchedSocket } from './transport.js';
import { Wake, clearedContext } from './wake.js';
import { readCursor } from './wire.js';

/** With more than this waiting to leave, a position that will be old on arrival is not worth sending. */
const QUIET_ABOVE_BYTES = 10 * 1024;
/** More arrows than this are neither drawn nor counted. */
const CURSORS_LIMIT = 300;
/** Newcomers are greeted with our position, so that they see us before we move, but only while the crowd is small. */
const GREET_BELOW = 25;
/** In a larger crowd than this nobody leaves a wake. */
const WAKES_BELOW = 60;
const CHIPS_LIMIT = 8;
/** The time in which an arrow covers about two thirds of what is left of its way. */
const GLIDE_MS = 55;
const STEP_PX = 16;
const LONG_STEP_PX = 80;
const EDGE_PX = 22;
const LABEL_ROOM_PX = 170;

/** @typedef {{ name: string, hue: number, x: number, y: number, targetX: number, targetY: number, node: HTMLElement, wake: Wake }} Arrow */

const stage = element('stage', HTMLElement);
const arrows = element('arrows', HTMLElement);
const water = element('water', HTMLCanvasElement);
const hint = element('hint', HTMLElement);
const count = element('count', HTMLElement);
const people = element('people', HTMLUListElement);
const notice = element('notice', HTMLElement);
const calm = matchMedia('(prefers-reduced-motion: reduce)');

/** @type {Map<string, Arrow>} the others, by sender */
const others = new Map();

/** Ourselves: drawn at once where the pointer is, recognised in the echo by a tag nobody else knows yet. */
const own = {
  node: arrowNode('You'),
  wake: new Wake(),
  // Above the words, and not where the next person starts.
  x: innerWidth * (0.25 + 0.5 * Math.random()),
  y: innerHeight * (0.19 + 0.08 * Math.random()),
  sender: '',
  hue: 200,
  tag: '',
  ripple: false,
  isDirty: false,
};
own.node.classList.add('own');
arrows.append(own.node);

/** What is said in place of the crowd while there is no connection. */
let absent = 'Connecting';
let frameRequested = false;
let lastFrame = 0;

const live = openSwitchedSocket({
  onState: (state) => {
    for (const sender of others.keys()) remove(sender);
    own.sender = '';
    own.tag = state.name === 'open' ? crypto.getRandomValues(new Uint32Array(2)).join('-') : '';
    own.node.classList.toggle('adrift', state.name !== 'open');
    notice.textContent = '';
    if (state.name === 'open') absent = '';
    if (state.name === 'waiting') absent = 'Reconnecting';
    if (state.name === 'stopped') absent = 'Connecting';
    describePeople();
    // Everybody should see us from the start, also before our pointer has moved.
    if (state.name === 'open') moved();
  },
  onMessage: (data) => {
    const event = readCursor(data);
    if (event?.kind === 'move') place(event);
    if (event?.kind === 'gone') {
      remove(event.sender);
      describePeople();
    }
    if (event?.kind === 'error') notice.textContent = `The server said: ${event.text}`;
  },
});

// Our arrow is drawn before there is a connection, too.
requestFrame();

addEventListener('pointermove', (event) => {
  if (event.isPrimary) follow(event);
});
stage.addEventListener('pointerdown', (event) => {
  if (!event.isPrimary) return;
  follow(event);
  drop();
});
addEventListener('keydown', (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === ' ' || event.key === 'Enter') {
    if (!isControl(event.target)) drop();
    return;
  }
  const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  if (!way) return;
  event.preventDefault();
  const step = event.shiftKey ? LONG_STEP_PX : STEP_PX;
  own.node.hidden = false;
  own.x = Math.min(innerWidth, Math.max(0, own.x + (way[0] ?? 0) * step));
  own.y = Math.min(innerHeight, Math.max(0, own.y + (way[1] ?? 0) * step));
  moved();
});
addEventListener('resize', requestFrame);
element('second', HTMLButtonElement).addEventListener('click', () => {
  open(location.href, '_blank', 'popup,noopener,width=720,height=640');
});

/** @param {PointerEvent} event */
function follow(event) {
  own.x = event.clientX;
  own.y = event.clientY;
  // Over a link or a button the browser's own pointer says more than our arrow does.
  own.node.hidden = event.pointerType === 'mouse' && isControl(event.target);
  moved();
}

/** A ripple where we are, for everybody to see: `ripple` is one of the unknown members that the server passes on. */
function drop() {
  own.ripple = true;
  ripple(own.node);
  moved();
}

function moved() {
  own.isDirty = true;
  requestFrame();
}

/** @param {import('./wire.js').CursorMove} move */
function place(move) {
  if (own.sender === '' && own.tag !== '' && move.tag === own.tag) return recognise(move);
  if (move.sender === own.sender) return;
  const known = others.get(move.sender);
  if (!known && others.size >= CURSORS_LIMIT) return;
  const arrow = known ?? arrive(move);
  arrow.targetX = move.x;
  arrow.targetY = move.y;
  if (move.ripple) ripple(arrow.node);
  requestFrame();
}

/**
 * The server delivers our own message to us before anybody can answer it, so the first one with our tag is ours;
 * from then on the tag is neither sent nor looked at.
 * @param {import('./wire.js').CursorMove} move
 */
function recognise(move) {
  own.sender = move.sender;
  own.hue = move.hue;
  own.node.style.setProperty('--hue', String(move.hue));
  describePeople();
}

/**
 * @param {import('./wire.js').CursorMove} move
 * @returns {Arrow}
 */
function arrive(move) {
  const name = colouredFishName(move.sender, move.hue);
  const node = arrowNode(name);
  node.dataset.sender = move.sender;
  node.style.setProperty('--hue', String(move.hue));
  const arrow = { name, hue: move.hue, x: move.x, y: move.y, targetX: move.x, targetY: move.y, node, wake: new Wake() };
  others.set(move.sender, arrow);
  arrows.append(node);
  describePeople();
  if (others.size < GREET_BELOW) moved();
  return arrow;
}

/** @param {string} sender */
function remove(sender) {
  others.get(sender)?.node.remove();
  others.delete(sender);
}

function requestFrame() {
  if (frameRequested) return;
  frameRequested = true;
  requestAnimationFrame(frame);
}

/** @param {number} now */
function frame(now) {
  frameRequested = false;
  const elapsed = Math.min(100, now - lastFrame);
  lastFrame = now;
  if (own.isDirty && live.isOpen && live.bufferedAmount <= QUIET_ABOVE_BYTES) tell();
  draw(own.node, own.x, own.y);
  const share = calm.matches ? 1 : 1 - Math.exp(-elapsed / GLIDE_MS);
  let isMoving = false;
  for (const arrow of others.values()) {
    isMoving = glide(arrow, share) || isMoving;
    draw(arrow.node, arrow.x, arrow.y);
  }
  const hasWake = drawWakes(now);
  if (isMoving || hasWake || (own.isDirty && live.isOpen)) requestFrame();
}

/**
 * @param {number} now
 * @returns {boolean} whether any is left to fade
 */
function drawWakes(now) {
  const context = clearedContext(water);
  if (!context || calm.matches || others.size >= WAKES_BELOW) return false;
  let isAny = false;
  for (const { wake, x, y, hue } of [own, ...others.values()]) {
    if (!wake.follow(x, y, now)) continue;
    wake.draw(context, hue, now);
    isAny = true;
  }
  return isAny;
}

function tell() {
  const x = Math.round(own.x);
  const y = Math.round(own.y);
  live.send(JSON.stringify({ x, y, ...(own.sender === '' && { tag: own.tag }), ...(own.ripple && { ripple: true }) }));
  own.isDirty = false;
  own.ripple = false;
}

/**
 * @param {Arrow} arrow
 * @param {number} share of the remaining way
 * @returns {boolean} whether there is more way to go
 */
function glide(arrow, share) {
  const restX = arrow.targetX - arrow.x;
  const restY = arrow.targetY - arrow.y;
  const isThere = Math.hypot(restX, restY) < 0.5;
  arrow.x = isThere ? arrow.targetX : arrow.x + restX * share;
  arrow.y = isThere ? arrow.targetY : arrow.y + restY * share;
  return !isThere;
}

/**
 * A cursor outside this window (the other one may be larger) waits, paler, at the edge.
 * @param {HTMLElement} node
 * @param {number} x
 * @param {number} y
 */
function draw(node, x, y) {
  const atX = Math.min(innerWidth - EDGE_PX, Math.max(0, x));
  const atY = Math.min(innerHeight - EDGE_PX, Math.max(0, y));
  node.style.transform = `translate3d(${atX.toFixed(1)}px, ${atY.toFixed(1)}px, 0)`;
  node.classList.toggle('outside', x < 0 || y < 0 || x > innerWidth || y > innerHeight);
  node.classList.toggle('flip', atX > innerWidth - LABEL_ROOM_PX);
  node.classList.toggle('lift', atY > innerHeight - EDGE_PX * 3);
}

/** @param {HTMLElement} node */
function ripple(node) {
  const ring = node.querySelector('.ripple');
  // Restarting a CSS animation takes a new element; one arrow never has more than one ring.
  ring?.replaceWith(make('span', 'ripple running'));
}

function describePeople() {
  count.textContent = absent || (others.size === 0 ? 'Only you here' : `${others.size + 1} people here`);
  hint.classList.toggle('in-company', others.size > 0);
  const chips = [...others.values()].slice(0, CHIPS_LIMIT).map((arrow) => chip(arrow.name, arrow.hue));
  if (own.sender !== '') chips.unshift(chip(`You: ${colouredFishName(own.sender, own.hue)}`, own.hue));
  if (others.size > CHIPS_LIMIT) chips.push(make('li', 'chip', `and ${others.size - CHIPS_LIMIT} more`));
  people.replaceChildren(...chips);
}

/**
 * @param {string} name
 * @param {number} hue
 */
function chip(name, hue) {
  const item = make('li', 'chip', name);
  const dot = make('span', 'chip-dot');
  dot.style.setProperty('--hue', String(hue));
  item.prepend(dot);
  return item;
}

/** @param {string} name */
function arrowNode(name) {
  const node = make('div', 'cursor');
  node.setAttribute('aria-hidden', 'true');
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 26 28');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  path.setAttribute('d', 'M2 2 23 11.6 13.6 14.9 9 24.6Z');
  svg.append(path);
  node.append(make('span', 'ripple'), svg, make('span', 'cursor-name', name));
  return node;
}

/**
 * @param {EventTarget | null} target
 * @returns {boolean}
 */
function isControl(target) {
  return target instanceof Element && target.closest('a, button, select, label') !== null;
}
