// What phones and the presenter's page post to a class room. The phones' page is one script with this in it, so it imports
// nothing.

const DEAD_MS = 40_000; // the server answers after at most 20 s

// Whether the server gave this answer, not something in between that also writes JSON, such as a login or a limit of requests. A
// refusal has a sentence; what a phone and a presenter get has a number for what is new.
/** @type {(act: string, status: number, answer: any) => boolean} */
export function isFromServer(act, status, answer) {
  if (Object.prototype.toString.call(answer) !== "[object Object]") return false;
  if (status !== 200) return typeof answer.detail === "string";
  const proof = { open: "secret", show: "counted", tally: "counted", join: "news", hear: "news", vote: "news" }[act];
  return !proof || proof in answer;
}

// Returns {status, answer}; status 0: the server could not be reached, or something else answered.
/** @type {(act: string, body: object, cancel?: AbortController) => Promise<{ status: number, answer: any }>} */
export async function postToRoom(act, body, cancel = new AbortController()) {
  const headers = { "Content-Type": "application/json", "X-EFT-Page": "1" };
  const timer = setTimeout(() => cancel.abort(), DEAD_MS); // browsers of 2023 have no AbortSignal.any, old phones no timeout
  try {
    const options = { method: "POST", headers, body: JSON.stringify(body), signal: cancel.signal };
    const came = await fetch(new URL("room/" + act, document.baseURI), options), answer = await came.json();
    return isFromServer(act, came.status, answer) ? { status: came.status, answer } : { status: 0, answer: {} };
  } catch {
    return { status: 0, answer: {} };
  } finally {
    clearTimeout(timer);
  }
}
