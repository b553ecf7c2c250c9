-- What shifter 0.1.0 wrote, word for word; then what it left behind: history that was pruned once, an order that
-- was answered and two that were not.
PRAGMA journal_mode = WAL;
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
CREATE TABLE shifts (name TEXT PRIMARY KEY, version INTEGER NOT NULL, state TEXT NOT NULL) STRICT;
CREATE TABLE reports (name TEXT PRIMARY KEY, report TEXT NOT NULL) STRICT;
CREATE TABLE orders (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, shift TEXT NOT NULL,
        verb TEXT NOT NULL CHECK (verb IN ('pause', 'resume', 'promote', 'rollback', 'retry')),
        who TEXT NOT NULL, why TEXT NOT NULL, is_full INTEGER NOT NULL, is_override INTEGER NOT NULL,
        answer TEXT CHECK (answer IN ('accepted', 'refused')),
        answer_text TEXT NOT NULL DEFAULT '', answered_at TEXT,
        CHECK ((answer IS NULL) = (answered_at IS NULL))) STRICT;
CREATE INDEX open_orders ON orders (shift) WHERE answer IS NULL;
CREATE TABLE history (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, shift TEXT NOT NULL, what TEXT NOT NULL, who TEXT NOT NULL,
        why TEXT NOT NULL, sequence INTEGER NOT NULL, epoch INTEGER NOT NULL, evidence TEXT NOT NULL) STRICT;
CREATE INDEX history_of_shift ON history (shift, id);
CREATE TRIGGER counters_grow BEFORE UPDATE ON counters
        WHEN NEW.name <> OLD.name OR NEW.value <= OLD.value
        BEGIN SELECT RAISE(ABORT, 'a counter only grows'); END;
CREATE TRIGGER counters_stay BEFORE DELETE ON counters
        BEGIN SELECT RAISE(ABORT, 'a counter is never dropped'); END;
CREATE TRIGGER shifts_move_on BEFORE UPDATE ON shifts
        WHEN NEW.name <> OLD.name OR NEW.version <> OLD.version + 1
        BEGIN SELECT RAISE(ABORT, 'a saved state is replaced by its next version only'); END;
CREATE TRIGGER history_in_order BEFORE INSERT ON history
        WHEN NEW.id IS NOT (SELECT value + 1 FROM counters WHERE name = 'history')
        BEGIN SELECT RAISE(ABORT, 'history has no gaps'); END;
CREATE TRIGGER history_counted AFTER INSERT ON history
        BEGIN UPDATE counters SET value = NEW.id WHERE name = 'history'; END;
CREATE TRIGGER history_fixed BEFORE UPDATE ON history
        BEGIN SELECT RAISE(ABORT, 'history is only appended to'); END;
CREATE TRIGGER history_kept BEFORE DELETE ON history
        WHEN OLD.at >= coalesce((SELECT value FROM meta WHERE name = 'pruning'), '')
        BEGIN SELECT RAISE(ABORT, 'history is only appended to'); END;
CREATE TRIGGER orders_in_order BEFORE INSERT ON orders
        WHEN NEW.answer IS NOT NULL OR NEW.id IS NOT (SELECT value + 1 FROM counters WHERE name = 'orders')
        BEGIN SELECT RAISE(ABORT, 'orders begin unanswered and have no gaps'); END;
CREATE TRIGGER orders_counted AFTER INSERT ON orders
        BEGIN UPDATE counters SET value = NEW.id WHERE name = 'orders'; END;
CREATE TRIGGER orders_answered_once BEFORE UPDATE ON orders
        WHEN OLD.answer IS NOT NULL OR NEW.answer IS NULL
            OR (NEW.id, NEW.at, NEW.shift, NEW.verb, NEW.who, NEW.why, NEW.is_full, NEW.is_override)
            IS NOT (OLD.id, OLD.at, OLD.shift, OLD.verb, OLD.who, OLD.why, OLD.is_full, OLD.is_override)
        BEGIN SELECT RAISE(ABORT, 'an order is answered once and not rewritten'); END;
CREATE TRIGGER orders_kept BEFORE DELETE ON orders
        WHEN OLD.answer IS NULL OR OLD.answered_at >= coalesce((SELECT value FROM meta WHERE name = 'pruning'), '')
        BEGIN SELECT RAISE(ABORT, 'an order is kept until it is answered and old'); END;
INSERT INTO counters VALUES ('epoch', 7), ('history', 2), ('orders', 0);
INSERT INTO meta VALUES ('schemaVersion', '1'), ('writtenBy', '0.1.0'), ('pruning', ''), ('prunedBefore', '2026-01');
PRAGMA application_id = 1936221812;
PRAGMA user_version = 1;
INSERT INTO shifts VALUES ('shop', 9, '{"schema_version":1,"name":"shop","policy":{"apiVersion":"shifter.io/v1alpha1",
"kind":"ShiftPolicy","metadata":{"name":"shop"},"spec":{"namespace":"shop","namespaces":null,"traffic":{"clb":{
"region":"ap-guangzhou","loadBalancer":"lb-1","routes":[{"listener":"lbl-1","domain":"shop.example.com","url":"/"}],
"source":{"port":30080,"ids":[],"ips":[],"tag":null},"target":{"port":31080,"ids":[],"ips":[],"tag":null}}},
"steps":[5.0,25.0,100.0],"soak":"5m","analysis":{"window":"1m","minRequests":100,"errors":{"maxPercent":1.0,
"overSourcePercent":0.5},"latency":{"quantile":0.99,"maxMs":500.0,"overSourceRatio":1.5}},"onFailure":"rollback"}},
"phase":"Shifting","since":"2026-03-04T05:06:07Z","share":5.0,"weights":{"r1":{"a":95,"b":5}},
"verified_at":"2026-03-04T05:06:07Z","sequence":3,"attempt":1,"last_order":1,"intent":null,"paused":null,
"promotion":{"order_id":1,"by":"ana","reason":"","full":false,"override":false},"overridden":false,"failure":null,
"setback":null,"abandoned":null,"holds":["window"]}');
INSERT INTO reports VALUES ('shop', '{"name":"shop","at":"2026-03-04T05:06:07Z","mode":"act","namespaces":["shop"],
"phase":"Shifting","since":"2026-03-04T05:06:07Z","step":1,"steps":[5.0,25.0,100.0],"wanted":5.0,"written":5.0,
"observed":null,"attempt":1,"decision":"hold","reason":"soaking","verdict":"pass","holds":[{"kind":"window",
"reason":"opens at 10"}],"findings":[{"metric":"errors","verdict":"pass","source":0.1,"target":null,"limit":1.0,
"unit":"%","text":"fine"}],"warnings":[],"source_requests":1.0,"source_bad":0.0,"target_requests":1.0,
"target_bad":0.0,"members":{"r1":"a"},"soaked_seconds":1.0,"soak_seconds":300.0,"epoch":7,"sequence":3,"failure":"",
"page":false,"silent_after_seconds":90.0}');
INSERT INTO history VALUES (3, '2026-03-04T05:06:07+00:00', 'shop', 'phase', 'shifter', 'because', 3, 7, '{"a":1}');
INSERT INTO history VALUES (4, '2026-03-04T05:06:08+00:00', 'shop', 'done', 'ana', 'again', 4, 7, '{}');
INSERT INTO orders (id, at, shift, verb, who, why, is_full, is_override)
    VALUES (1, '2026-03-04T05:06:07+00:00', 'shop', 'promote', 'ana', 'go', 1, 1);
UPDATE orders SET answer = 'accepted', answer_text = 'promoted', answered_at = '2026-03-04T05:06:08+00:00';
INSERT INTO orders (id, at, shift, verb, who, why, is_full, is_override)
    VALUES (2, '2026-03-04T05:06:09+00:00', 'shop', 'rollback', 'bob', 'it burns', 0, 0);
INSERT INTO orders (id, at, shift, verb, who, why, is_full, is_override)
    VALUES (3, '2026-03-04T05:06:09+00:00', 'cart', 'pause', 'bob', '', 0, 0);
