// Looks at files before they are sent: reads the directory of a zip, and opens pictures.

const END = 0x06054b50;
const END_64 = 0x06064b50;
const LOCATOR_64 = 0x07064b50;
const ENTRY = 0x02014b50;
const MOST_END = 22 + 65535; // bytes of a zip's end record and of the comment that may follow it
const MOST_DIRECTORY = 64 * 1024 * 1024; // bytes
// Layouts of other tools keep captions elsewhere: in tables, or in the names of folders.
const LAYOUT = /\.(csv|jsonl|json|toml|parquet)$|(^|\/)\d+_[^/]+\//i;
const HIDDEN = /(^|\/)(__MACOSX\/|\.)/;
const PICTURE = /\.(png|jpe?g|webp)$/i;
const SHOWN = 3; // the most samples without a caption that are named
let opening = Promise.resolve(); // pictures are opened one by one, because each takes memory

// Returns { note } about a file, or { trouble } if it cannot be used and need not be sent.
export async function look(file, limits) {
  if (PICTURE.test(file.name)) return (opening = opening.then(() => picture(file)));
  const isPart = new RegExp(limits.parts, "i").test(file.name);
  if (suffix(file.name) !== ".zip") return isPart ? split() : limits.archives.includes(suffix(file.name)) ? packed(file) : {};
  try {
    const found = await directory(file, isPart);
    return found.trouble ? found : judge(found, limits);
  } catch {
    return {}; // unreadable here; the bot's own check decides
  }
}

async function picture(file) {
  try {
    (await createImageBitmap(file)).close();
    return {};
  } catch {
    return { note: "This browser cannot open the picture; it may be damaged.", isBad: true };
  }
}

// A file called set.part2.zip may be a whole zip, so its directory decides.
async function directory(file, isPart) {
  const tail = await view(file, Math.max(0, file.size - MOST_END), file.size);
  let at = tail.byteLength - 22;
  while (at >= 0 && tail.getUint32(at, true) !== END) at -= 1;
  if (at < 0) return isPart ? split() : { trouble: { cause: "This is not a complete zip: its directory is missing.", fix: "Zip the folder again, as one file." } };
  if (tail.getUint16(at + 4, true) > 0 && tail.getUint16(at + 4, true) !== 0xffff) return split();
  let size = tail.getUint32(at + 12, true), start = tail.getUint32(at + 16, true);
  if (start === 0xffffffff || size === 0xffffffff) [size, start] = await large(file, tail, at);
  if (size > MOST_DIRECTORY) return { trouble: { cause: "This zip has too many files.", fix: "Zip only the images, clips and captions of one dataset." } };
  return { entries: entries(await view(file, start, start + size)) };
}

async function large(file, tail, at) {
  if (at < 20 || tail.getUint32(at - 20, true) !== LOCATOR_64) throw new Error("no zip64");
  const end = await view(file, Number(tail.getBigUint64(at - 12, true)), file.size);
  if (end.getUint32(0, true) !== END_64) throw new Error("no zip64");
  return [Number(end.getBigUint64(40, true)), Number(end.getBigUint64(48, true))];
}

function entries(data) {
  const found = [], text = new TextDecoder();
  for (let at = 0; at + 46 <= data.byteLength && data.getUint32(at, true) === ENTRY;) {
    const [name, extra, comment] = [28, 30, 32].map((place) => data.getUint16(at + place, true));
    const path = text.decode(new Uint8Array(data.buffer, data.byteOffset + at + 46, name));
    found.push({ path, size: data.getUint32(at + 24, true) });
    at += 46 + name + extra + comment;
  }
  return found;
}

function judge({ entries: all }, limits) {
  const files = all.filter(({ path }) => !path.endsWith("/") && !HIDDEN.test(path));
  const size = files.reduce((sum, one) => sum + one.size, 0);
  if (all.length > limits.files) return { trouble: { cause: `This zip has ${all.length.toLocaleString()} files; the limit is ${limits.files.toLocaleString()}.`, fix: "Zip only the images, clips and captions of one dataset." } };
  if (size > limits.unpacked) return { trouble: { cause: "Unpacked, this zip is larger than the limit.", fix: "Split the dataset, or shorten the clips." } };
  const paths = files.map(({ path }) => path);
  return captioned(paths, limits) ?? { trouble: { cause: "This zip has no images and no clips.", fix: "Zip the folder with the images, clips and captions." } };
}

// Returns { note } about the images and clips among these paths, or null if there are none.
export function captioned(paths, limits) {
  const media = paths.filter((path) => limits.media.includes(suffix(path)));
  if (!media.length) return null;
  const captions = new Set(paths.filter((path) => limits.captions.includes(suffix(path))).map(stem));
  const count = media.length === 1 ? "1 image or clip" : `${media.length.toLocaleString()} images and clips`;
  if (paths.some((path) => LAYOUT.test(path))) return { note: count };
  const bare = media.filter((path) => !captions.has(stem(path)) && !captions.has(path.toLowerCase()));
  if (!bare.length) return { note: media.length === 1 ? `${count} with a caption` : `${count}, each with a caption` };
  const names = bare.slice(0, SHOWN).map((path) => path.split("/").pop()).join(", ");
  const more = bare.length > SHOWN ? ` and ${(bare.length - SHOWN).toLocaleString()} more` : "";
  return { note: `${count}; without a caption: ${names}${more}`, isBad: true };
}

const suffix = (path) => /\.[^./]+$/.exec(path)?.[0].toLowerCase() ?? "";
const stem = (path) => path.replace(/\.[^./]+$/, "").toLowerCase();

const split = () => ({ trouble: { cause: "This is one part of a split archive.", fix: "Zip the folder again, as one file." } });
const packed = (file) => ({ trouble: { cause: `Only zips are unpacked, and this is a ${suffix(file.name)} archive.`, fix: "Unpack it, and add the folder." } });

async function view(file, start, stop) {
  return new DataView(await file.slice(start, stop).arrayBuffer());
}
