// Images that are pasted or dropped into a prompt, and files that are dropped: they go with the prompt.
import { formatBytes } from "../runs/run";
import { fileLink, type Attachment } from "../transcript/context";
import { decodedUri } from "./uri";

/** Agents take no larger ones, and a transcript would be slow with them. */
const MAX_IMAGE_BYTES = 5_000_000;

/** `taken` gets what goes with the prompt, `refused` a message about what does not. `obstacle` says why no image can go with it. */
export function takeImages(box: HTMLElement, taken: (attachments: Attachment[]) => void, refused: (message: string) => void, obstacle: () => string | undefined): void {
  const take = async (files: readonly File[]) => {
    const message = obstacle();
    if (message !== undefined) return refused(message);
    const large = files.find(({ size }) => size > MAX_IMAGE_BYTES);
    if (large) refused(`${large.name} is larger than ${formatBytes(MAX_IMAGE_BYTES)}.`);
    taken(await Promise.all(files.filter(({ size }) => size <= MAX_IMAGE_BYTES).map(imageOf)));
  };
  box.addEventListener("paste", event => {
    const data = event.clipboardData;
    const files = imagesOf(data);
    // A table that was copied comes as a text and as its picture.
    if (files.length === 0 || data?.getData("text/plain")) return;
    event.preventDefault();
    void take(files);
  });
  box.addEventListener("dragover", event => {
    if (event.dataTransfer?.types.some(type => type === "Files" || type === "text/uri-list" || type === URI_LIST)) event.preventDefault();
  });
  box.addEventListener("drop", event => {
    const [files, links] = [imagesOf(event.dataTransfer), linksOf(event.dataTransfer)];
    if (files.length + links.length === 0) return;
    event.preventDefault();
    if (files.length > 0) void take(files);
    else taken(links);
  });
}

/** What VS Code's own views have in a drag. */
const URI_LIST = "application/vnd.code.uri-list";

const imagesOf = (data: DataTransfer | null): File[] => [...(data?.files ?? [])].filter(({ type }) => /^image\/[\w.+-]+$/.test(type));

function linksOf(data: DataTransfer | null): Attachment[] {
  const uris = (data?.getData(URI_LIST) || data?.getData("text/uri-list") || "").split(/\r?\n/).filter(uri => uri.startsWith("file:"));
  return uris.map(uri => fileLink(uri, decodedUri(uri.split("/").findLast(part => part !== "") ?? uri)));
}

async function imageOf(file: File): Promise<Attachment> {
  const url = await new Promise<string>((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result as string);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
  const [label, data] = [file.name || "image", url.slice(url.indexOf(",") + 1)];
  return { label, detail: `${label}, ${file.type}, ${formatBytes(file.size)}`, block: { type: "image", mimeType: file.type, data }, imageUrl: url };
}
