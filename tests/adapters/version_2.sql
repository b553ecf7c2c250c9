-- What shifter 0.1.0 wrote as schema version 2, as SQLite dumps it (two texts broken into lines): history that was
-- pruned once, an order that was answered and one that was not, a freeze.
PRAGMA journal_mode = WAL;
PRAGMA application_id = 1936221812;
PRAGMA user_version = 2;
BEGIN TRANSACTION;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
INSERT INTO "counters" VALUES('epoch',1);
INSERT INTO "counters" VALUES('history',6);
INSERT INTO "counters" VALUES('orders',2);
CREATE TABLE fleet (
        one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL, state TEXT NOT NULL) STRICT;
INSERT INTO "fleet" VALUES(1,1,'{"schema_version":1,"freezes":[{"by":"ana","reason":"release day",
"at":"2026-03-04T05:06:07Z"}],"last_order":0}');
CREATE TABLE history (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, shift TEXT NOT NULL, what TEXT NOT NULL, who TEXT NOT NULL,
        why TEXT NOT NULL, sequence INTEGER NOT NULL, epoch INTEGER NOT NULL, evidence TEXT NOT NULL) STRICT;
INSERT INTO "history" VALUES(3,'2026-03-04T05:06:07.000000+00:00','shop','order','ana','paused by ana: lunch',0,0,'{}');
INSERT INTO "history" VALUES(4,'2026-03-04T05:06:07.000000+00:00','shop','intent','shifter','raising to 5 %: größer als 1 % 上升',2,1,'{"from":1.0,"to":5.0,"routes":["r1"],"note":"a \"quoted\" text\nin two lines"}');
INSERT INTO "history" VALUES(5,'2026-03-04T05:06:16.000000+00:00','shop','done','shifter','tcm 95 · istio 5 is in force',2,1,'{"to":5.0}');
INSERT INTO "history" VALUES(6,'2026-03-04T05:06:27.000000+00:00','*','order','ana','frozen by ana: release day',0,0,'{}');
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
INSERT INTO "meta" VALUES('schemaVersion','2');
INSERT INTO "meta" VALUES('writtenBy','0.1.0');
INSERT INTO "meta" VALUES('pruning','');
INSERT INTO "meta" VALUES('prunedBefore','2026-02-02T05:06:07.000000+00:00');
CREATE TABLE orders (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, shift TEXT NOT NULL, verb TEXT NOT NULL,
        who TEXT NOT NULL, why TEXT NOT NULL, is_full INTEGER NOT NULL, is_override INTEGER NOT NULL,
        share REAL, hands_off_us INTEGER, is_adopt INTEGER NOT NULL DEFAULT 0,
        answer TEXT CHECK (answer IN ('accepted', 'refused')),
        answer_text TEXT NOT NULL DEFAULT '', answered_at TEXT,
        CHECK ((answer IS NULL) = (answered_at IS NULL))) STRICT;
INSERT INTO "orders" VALUES(1,'2026-03-04T05:06:07.000000+00:00','shop','pause','ana','lunch',0,0,NULL,NULL,0,'accepted','paused','2026-03-04T05:06:07.000000+00:00');
INSERT INTO "orders" VALUES(2,'2026-03-04T05:06:37.000000+00:00','shop','rollback','ana','it burns',0,0,NULL,NULL,0,NULL,'',NULL);
CREATE TABLE reports (name TEXT PRIMARY KEY, report TEXT NOT NULL) STRICT;
INSERT INTO "reports" VALUES('shop','{"name":"shop","at":"2026-03-04T05:06:07Z","mode":"active",
"namespaces":["shop"],"phase":"Shifting","since":"2026-03-04T05:06:07Z","step":1,"steps":[5.0,25.0,100.0],
"wanted":5.0,"written":5.0,"observed":null,"attempt":1,"decision":"hold","reason":"soaking","verdict":"pass",
"said":"","holds":[],"findings":[],"warnings":[],"source_requests":0.0,"source_bad":0.0,"target_requests":0.0,
"target_bad":0.0,"members":{},"soaked_seconds":0.0,"soak_seconds":0.0,"epoch":0,"sequence":0,"failure":"",
"harm":null,"harm_limit":null,"proven":false,"dropped":{},"page":false,"silent_after_seconds":90.0,
"requests_per_second":null,"tick_seconds":null,"sample_max_age_seconds":null,"read_deadline_seconds":null,
"operation_timeout_seconds":null,"settle_seconds":null}');
CREATE TABLE shifts (name TEXT PRIMARY KEY, version INTEGER NOT NULL, state TEXT NOT NULL) STRICT;
INSERT INTO "shifts" VALUES('shop',3,'{"schema_version":3,"name":"shop","policy":{"apiVersion":"shifter.io/v1alpha1",
"kind":"ShiftPolicy","metadata":{"name":"shop"},"spec":{"namespace":"shop","namespaces":null,
"traffic":{"clb":{"region":"ap-guangzhou","loadBalancer":"lb-1","routes":[{"listener":"lbl-1",
"domain":"shop.example.com","url":"/"}],"source":{"port":30080,"ids":[],"ips":[],"tag":null},"target":{"port":31080,
"ids":[],"ips":[],"tag":null}}},"steps":[5.0,25.0,100.0],"soak":"5m","analysis":{"falseRollbackPercent":1.0,
"hold":"4m","errors":{"codes":["5xx"],"flags":[],"grpcStatuses":[2,4,12,13,14,15],"maxPercent":null,
"tolerance":{"ratio":1.1,"percent":0.01},"margin":{"ratio":1.5,"percent":0.1}},"answers":{"codes":["3xx","401","403",
"404"],"tolerance":{"ratio":1.25,"percent":0.5},"margin":{"ratio":1.5,"percent":1.0}},"latency":{"enabled":true,
"quantile":0.99,"maxMs":null,"tolerance":{"ratio":1.25,"percent":0.2},"margin":{"ratio":1.5,"percent":0.5}},
"custom":[]},"blastRadius":{"requests":25.0,"seconds":1.0},"onFailure":"rollback","approvals":[]}},"phase":"Waiting",
"since":"2026-03-04T05:06:07Z","share":5.0,"weights":{},"verified_at":null,"sequence":2,"attempt":1,"last_order":0,
"intent":null,"paused":null,"approved":[],"overridden":false,"failure":null,"ceiling":null,"standing":null,
"setback":null,"abandoned":null,"holds":[]}');
CREATE TRIGGER fleet_is_one BEFORE INSERT ON fleet
        WHEN NEW.version <> 1 OR EXISTS (SELECT 1 FROM fleet)
        BEGIN SELECT RAISE(ABORT, 'a saved state is replaced by its next version only'); END;
CREATE TRIGGER fleet_moves_on BEFORE UPDATE ON fleet
        WHEN NEW.version <> OLD.version + 1
        BEGIN SELECT RAISE(ABORT, 'a saved state is replaced by its next version only'); END;
CREATE TRIGGER fleet_stays BEFORE DELETE ON fleet
        BEGIN SELECT RAISE(ABORT, 'a saved state is replaced by its next version only'); END;
CREATE INDEX open_orders ON orders (shift) WHERE answer IS NULL;
CREATE TRIGGER orders_in_order BEFORE INSERT ON orders
        WHEN NEW.answer IS NOT NULL OR NEW.id IS NOT (SELECT value + 1 FROM counters WHERE name = 'orders')
        BEGIN SELECT RAISE(ABORT, 'orders begin unanswered and have no gaps'); END;
CREATE TRIGGER orders_counted AFTER INSERT ON orders
        BEGIN UPDATE counters SET value = NEW.id WHERE name = 'orders'; END;
CREATE TRIGGER orders_answered_once BEFORE UPDATE ON orders
        WHEN OLD.answer IS NOT NULL OR NEW.answer IS NULL
            OR (NEW.id, NEW.at, NEW.shift, NEW.verb, NEW.who, NEW.why, NEW.is_full, NEW.is_override, NEW.share,
                NEW.hands_off_us, NEW.is_adopt)
            IS NOT (OLD.id, OLD.at, OLD.shift, OLD.verb, OLD.who, OLD.why, OLD.is_full, OLD.is_override, OLD.share,
                OLD.hands_off_us, OLD.is_adopt)
        BEGIN SELECT RAISE(ABORT, 'an order is answered once and not rewritten'); END;
CREATE TRIGGER orders_kept BEFORE DELETE ON orders
        WHEN OLD.answer IS NULL OR OLD.answered_at >= coalesce((SELECT value FROM meta WHERE name = 'pruning'), '')
        BEGIN SELECT RAISE(ABORT, 'an order is kept until it is answered and old'); END;
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
COMMIT;
