/** Names for visitors who have none: everybody derives the same fish from the same sender, so two people can speak of "Grayling". */

const FISH = [
  'Anchovy', 'Barbel', 'Bleak', 'Bream', 'Brill', 'Burbot', 'Capelin', 'Char', 'Chinook', 'Chub', 'Chum', 'Coho',
  'Dab', 'Dace', 'Dory', 'Eel', 'Flounder', 'Garfish', 'Goby', 'Grayling', 'Gudgeon', 'Gurnard', 'Haddock', 'Halibut',
  'Herring', 'Huchen', 'Ide', 'Lamprey', 'Ling', 'Loach', 'Lumpfish', 'Mackerel', 'Minnow', 'Mullet', 'Nase', 'Perch',
  'Pike', 'Plaice', 'Pollock', 'Roach', 'Rudd', 'Ruffe', 'Saithe', 'Sculpin', 'Shad', 'Smelt', 'Sole', 'Sprat',
  'Sturgeon', 'Tench', 'Trout', 'Turbot', 'Vendace', 'Vimba', 'Whiting', 'Wrasse', 'Zander', 'Zingel',
];

/**
 * @param {string} seed
 * @returns {string}
 */
export function fishName(seed) {
  return FISH[hash(seed) % FISH.length] ?? 'Salmon';
}

const HUES = ['Red', 'Amber', 'Gold', 'Lime', 'Green', 'Jade', 'Teal', 'Azure', 'Blue', 'Violet', 'Magenta', 'Rose'];

/**
 * The colour in words too: it tells two fish apart, also for those who do not see the difference.
 * @param {string} seed
 * @param {number} hue 0–359
 * @returns {string}
 */
export function colouredFishName(seed, hue) {
  return `${HUES[Math.round(hue / 30) % HUES.length] ?? 'Grey'} ${fishName(seed)}`;
}

/**
 * A hue for a name, the same in every window.
 * @param {string} name
 * @returns {number} 0–359
 */
export function hueOf(name) {
  return hash(name) % 360;
}

/**
 * FNV-1a over UTF-16 code units: small, spreads short names well, and nothing depends on it being hard to invert.
 * @param {string} text
 */
function hash(text) {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1) {
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193);
  }
  // FNV's low bits are its weakest, and a remainder by 58 or 360 lives on them.
  value ^= value >>> 15;
  return Math.imul(value, 0x2c1b3c6d) >>> 0;
}
