-- An operator is an instructor who may also act on the sandboxes. The one whom
-- the server's own link made is: it was printed to whoever runs the machine.
ALTER TABLE users ADD COLUMN operator INTEGER NOT NULL DEFAULT 0
  CHECK (operator IN (0, 1) AND (operator = 0 OR role = 'instructor'));
UPDATE users SET operator = 1 WHERE id = (SELECT min(id) FROM users WHERE role = 'instructor');
