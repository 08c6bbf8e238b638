// What phones and the presenter's page post to a class room. The phones' page is one script with this in it, so it imports
// nothing.

const DEAD_MS = 40_000; // the server answers after at most 20 s

// Returns {status, answer}; status 0: the server could not be reached, or something else answered.
/** @type {(act: string, body: object, cancel?: AbortController) => Promise<{ status: number, answer: any }>} */
export async function postToRoom(act, body, cancel = new AbortController()) {
  const headers = { "Content-Type": "application/json", "X-EFT-Page": "1" };
  const timer = setTimeout(() => cancel.abort(), DEAD_MS); // browsers of 2023 have no AbortSignal.any, old phones no timeout
  try {
    const options = { method: "POST", headers, body: JSON.stringify(body), signal: cancel.signal };
    const answer = await fetch(new URL("room/" + act, document.baseURI), options);
    return { status: answer.status, answer: await answer.json() };
  } catch {
    return { status: 0, answer: {} };
  } finally {
    clearTimeout(timer);
  }
}
