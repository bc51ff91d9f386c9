// What a person drops or chooses: files, and folders with all files below them.

// Each file comes with its path below the folder that was dropped.
export async function dropped(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.length) return chosen(transfer.files);
  const lists = await Promise.all(entries.map((entry) => walk(entry, "")));
  return lists.flat();
}

export function chosen(files) {
  return [...files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
}

async function walk(entry, above) {
  const path = above + entry.name;
  if (entry.isFile) {
    const file = await new Promise((done, fail) => entry.file(done, fail));
    return [{ file, path }];
  }
  const lists = [];
  for (const one of await children(entry)) lists.push(await walk(one, `${path}/`));
  return lists.flat();
}

async function children(folder) {
  const reader = folder.createReader();
  const found = [];
  for (;;) { // browsers return at most a hundred entries per call
    const some = await new Promise((done, fail) => reader.readEntries(done, fail));
    if (!some.length) return found;
    found.push(...some);
  }
}
