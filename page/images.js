// Images to be shown to a model: chosen, pasted or dropped, made small enough to send.

const LONGEST = 1536; // pixels of a side: models see no more than this
const QUALITY = 0.88;

/** An image file as a data URL. Throws an Error that says what is wrong with it. */
export async function imageOf(file) {
  let picture;
  try {
    picture = await createImageBitmap(file);
  } catch {
    throw new Error(`${file.name || "This"} is no image that the browser can read. A png, jpeg, webp or gif is wanted.`);
  }
  const shrink = Math.min(1, LONGEST / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * shrink));
  canvas.height = Math.max(1, Math.round(picture.height * shrink));
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // jpeg has no transparency
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  picture.close();
  return canvas.toDataURL("image/jpeg", QUALITY);
}
