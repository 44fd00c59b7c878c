-- What a reader answered to the quizzes of articles, the last of each. quiz is
-- made of the question's words, answer of those of the choices, or what was
-- typed: one that was changed since is asked anew.
CREATE TABLE answers (
  user    INTEGER NOT NULL REFERENCES users (id),
  article TEXT    NOT NULL,
  quiz    TEXT    NOT NULL,
  answer  TEXT    NOT NULL CHECK (answer <> '' AND octet_length(answer) <= 320),
  at      INTEGER NOT NULL,
  PRIMARY KEY (user, article, quiz)
) STRICT, WITHOUT ROWID;
