// What pages of reading gain from a script; they read without it.

import { showProgress } from "./track.ts";
import { readByKeyboard } from "./shortcuts.ts";
import { stepThrough } from "./steps.ts";
import { explainTerms } from "./terms.ts";

showProgress();
explainTerms();
stepThrough();
readByKeyboard();
