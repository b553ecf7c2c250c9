-- What shifter 0.1.0 wrote as schema version 3, as SQLite dumps it (two texts broken into lines, one of them sealed so):
-- history that was pruned once, an order that was answered and one that was not, a freeze, all that a shift remembers.
PRAGMA journal_mode = WAL;
PRAGMA application_id = 1936221812;
PRAGMA user_version = 3;
BEGIN TRANSACTION;
CREATE TABLE chain (name TEXT PRIMARY KEY, id INTEGER NOT NULL, hash TEXT NOT NULL) STRICT;
INSERT INTO "chain" VALUES('anchor',2,'0d18f50ae297a6ed974c41f81c955751856a9442a23118c04694e2b013711d1e');
INSERT INTO "chain" VALUES('head',6,'1c4a5d1acdc2707f223979a52087962b2508d9ebadf185a1e018bcc8dc175b87');
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;
INSERT INTO "counters" VALUES('epoch',1);
INSERT INTO "counters" VALUES('history',6);
INSERT INTO "counters" VALUES('orders',2);
CREATE TABLE fleet (
        one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL, state TEXT NOT NULL) STRICT;
INSERT INTO "fleet" VALUES(1,1,'{"sha256":"a1d5f0f54177c2d2bd3b253e8a8587a15ee758fd319a3ceae34ba68d8df1e123","schema_version":1,"freezes":[{"by":"ana","reason":"release day","at":"2026-03-04T05:06:07Z"}],"last_order":0}');
CREATE TABLE history (
        id INTEGER PRIMARY KEY, at TEXT NOT NULL, shift TEXT NOT NULL, what TEXT NOT NULL, who TEXT NOT NULL,
        why TEXT NOT NULL, sequence INTEGER NOT NULL, epoch INTEGER NOT NULL, evidence TEXT NOT NULL,
        hash TEXT NOT NULL) STRICT;
INSERT INTO "history" VALUES(3,'2026-03-04T05:06:07.000000+00:00','shop','order','ana','paused by ana: lunch',0,0,'{"order":1}','b0ce3f05c4abdd754fd33d3070c14b6adb6b77332f91f8d34a8335765b7b7225');
INSERT INTO "history" VALUES(4,'2026-03-04T05:06:07.000000+00:00','shop','intent','shifter','raising to 5 %: größer als 1 % 上升',2,1,'{"from":1.0,"to":5.0,"routes":["r1"],"note":"a \"quoted\" text"}','aae6138f20127cc6a0b7b3a7a6a156b1233021547c680d14019fe52f3a4f3c8e');
INSERT INTO "history" VALUES(5,'2026-03-04T05:06:16.000000+00:00','shop','done','shifter','tcm 95 · istio 5 is in force',2,1,'{"to":5.0}','dbbb67530f1ab930e965a2e2c0834b94495f9cd1fec835307f9998d0a52679ec');
INSERT INTO "history" VALUES(6,'2026-03-04T05:06:27.000000+00:00','*','order','ana','frozen by ana: release day',0,0,'{}','1c4a5d1acdc2707f223979a52087962b2508d9ebadf185a1e018bcc8dc175b87');
CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
INSERT INTO "meta" VALUES('schemaVersion','3');
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
INSERT INTO "orders" VALUES(1,'2026-03-04T05:06:07.000000+00:00','shop','pause','ana','lunch',0,0,NULL,1800000000,0,'accepted','paused','2026-03-04T05:06:07.000000+00:00');
INSERT INTO "orders" VALUES(2,'2026-03-04T05:06:37.000000+00:00','shop','reconcile','ana','it burns',0,0,25.0,NULL,1,NULL,'',NULL);
CREATE TABLE reports (name TEXT PRIMARY KEY, report TEXT NOT NULL) STRICT;
INSERT INTO "reports" VALUES('shop','{"name":"shop","at":"2026-03-04T05:06:07Z","mode":"active","namespaces":["shop"],
"phase":"Shifting","since":"2026-03-04T05:06:07Z","step":1,"steps":[5.0,25.0,100.0],"wanted":5.0,"written":5.0,
"observed":null,"attempt":1,"decision":"hold","reason":"soaking","verdict":"pass","said":"","holds":[],"findings":[],
"warnings":[],"source_requests":0.0,"source_bad":0.0,"target_requests":0.0,"target_bad":0.0,"members":{},
"soaked_seconds":0.0,"soak_seconds":0.0,"epoch":0,"sequence":0,"failure":"","harm":null,"harm_limit":null,
"proven":false,"dropped":{},"page":false,"silent_after_seconds":90.0,"requests_per_second":null,"tick_seconds":null,
"sample_max_age_seconds":null,"read_deadline_seconds":null,"operation_timeout_seconds":null,"settle_seconds":null}');
CREATE TABLE shifts (name TEXT PRIMARY KEY, version INTEGER NOT NULL, state TEXT NOT NULL) STRICT;
INSERT INTO "shifts" VALUES('shop',3,'{"sha256":"8ef1afa8821434a508df2c79dc396d70b988360482ea290160cdabd2fde2f631","schema_version":4,"name":"shop","policy":{"apiVersion":"shifter.io/v1alpha1","kind":"ShiftPolicy",
"metadata":{"name":"shop"},"spec":{"namespace":null,"namespaces":["shop","cart"],
"traffic":{"clb":{"region":"ap-guangzhou","loadBalancer":"lb-1","routes":[{"listener":"lbl-1",
"domain":"shop.example.com","url":"/"}],"source":{"port":30080,"ids":["ins-a"],"ips":[],"tag":null},
"target":{"port":31080,"ids":[],"ips":[],"tag":null}}},"steps":[5.0,25.0,100.0],"soak":"5m",
"analysis":{"falseRollbackPercent":0.5,"hold":"2h","errors":{"codes":["5xx"],"flags":["UF"],"grpcStatuses":[14],
"maxPercent":1.0,"tolerance":{"ratio":1.1,"percent":0.01},"margin":{"ratio":1.5,"percent":0.1}},
"answers":{"codes":["401"],"tolerance":{"ratio":1.25,"percent":0.5},"margin":{"ratio":2.0,"percent":3.0}},
"latency":{"enabled":true,"quantile":0.95,"maxMs":500.0,"tolerance":{"ratio":1.25,"percent":0.2},
"margin":{"ratio":1.5,"percent":0.5}},"custom":[{"name":"logins","maxPercent":2.0,"tolerance":{"ratio":1.25,
"percent":0.2},"margin":{"ratio":1.5,"percent":0.5}}]},"blastRadius":{"requests":100.0,"seconds":1.0},
"onFailure":"stepBack","wayBack":{"keepPercent":50.0},"approvals":[{"before":25.0}]}},"phase":"Shifting",
"since":"2026-03-04T12:00:00Z","share":5.0,"weights":{"r1":{"a":95,"b":5}},"verified_at":"2026-03-04T12:00:00Z",
"sequence":4,"attempt":2,"last_order":7,"intent":{"sequence":4,"epoch":2,"direction":"climb","from_share":5.0,
"to_share":25.0,"reason":"soaked","by":"ana","promoted":true,"override":true,"created_at":"2026-03-04T12:00:00Z",
"deadline":"2026-03-04T12:02:00Z","before":{"r1":{"a":95,"b":5}},"weights":{"r1":{"a":75,"b":25}},
"operations":{"lb-1":"op-9"},"sends":2},"paused":{"by":"ana","reason":"lunch","at":"2026-03-04T12:00:00Z",
"hands_off_until":"2026-03-04T12:30:00Z"},"approved":[{"before":25.0,"by":"bo","reason":"fine",
"at":"2026-03-04T12:00:00Z"}],"overridden":true,"failure":{"reason":"errors","share":25.0,"at":"2026-03-04T12:00:00Z",
"ordered":true,"at_once":false},"ceiling":{"share":25.0,"reason":"errors","at":"2026-03-04T12:00:00Z","probe":true},
"way_back":{"at":"2026-03-04T12:00:00Z","had":{"gateway pods":4},"left":{"gateway pods":3}},"pin":{"before":2,
"floor":4,"at":"2026-03-04T12:00:00Z","released":false},"standing":{"attempt":2,"share":5.0,"history":{"ticks":12,
"requests":4800.0,"per_tick":400.0,"edges_ms":[10.0,100.0],"metrics":[{"name":"errors","rate":0.001,"requests":4800.0,
"dispersion":1.5,"halves":true}]},"wealth":{"metrics":[{"start":[0.1,0.2],"latest":[0.3],"safety":[0.4],
"source_rate":0.001,"source_weight":4800.0,"frozen":[0.0,0.0],"opened":[1,1]}]},"totals":[[1.0,400.0,0.0,20.0]],
"recent":[[[1.0,400.0]]],"usual":400.0,"ticks":20,"seconds":300.0,"exposed_seconds":120.0,"exposed_ticks":8,
"sickness":{"ticks":3,"well_ticks":2,"after_ticks":null,"rates":[]},"failing":{"ticks":1,"bad":2.0,"requests":20.0,
"source_requests":400.0,"apart_seconds":0.5},"lost":0.25,"pending":[null],"unmeasured":["latency"],
"recent_target":[[1.0,20.0]],"counted_until":1772625600.0},"setback":{"reason":"throttled",
"at":"2026-03-04T12:00:00Z","count":2},"abandoned":{"sequence":3,"epoch":1,"direction":"climb","from_share":5.0,
"to_share":25.0,"reason":"soaked","by":"ana","promoted":true,"override":true,"created_at":"2026-03-04T12:00:00Z",
"deadline":"2026-03-04T12:02:00Z","before":{"r1":{"a":95,"b":5}},"weights":{"r1":{"a":75,"b":25}},"operations":{},
"sends":1},"holds":["drift","pause"]}');
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
CREATE TRIGGER counters_grow BEFORE UPDATE ON counters
        WHEN NEW.name <> OLD.name OR NEW.value <= OLD.value
        BEGIN SELECT RAISE(ABORT, 'a counter only grows'); END;
CREATE TRIGGER counters_stay BEFORE DELETE ON counters
        BEGIN SELECT RAISE(ABORT, 'a counter is never dropped'); END;
CREATE TRIGGER shifts_move_on BEFORE UPDATE ON shifts
        WHEN NEW.name <> OLD.name OR NEW.version <> OLD.version + 1
        BEGIN SELECT RAISE(ABORT, 'a saved state is replaced by its next version only'); END;
CREATE INDEX history_of_shift ON history (shift, id);
CREATE TRIGGER history_in_order BEFORE INSERT ON history
        WHEN NEW.id IS NOT (SELECT value + 1 FROM counters WHERE name = 'history')
        BEGIN SELECT RAISE(ABORT, 'history has no gaps'); END;
CREATE TRIGGER history_counted AFTER INSERT ON history
        BEGIN
            UPDATE counters SET value = NEW.id WHERE name = 'history';
            INSERT OR REPLACE INTO chain VALUES ('head', NEW.id, NEW.hash);
        END;
CREATE TRIGGER history_fixed BEFORE UPDATE ON history
        BEGIN SELECT RAISE(ABORT, 'history is only appended to'); END;
CREATE TRIGGER history_kept BEFORE DELETE ON history
        WHEN OLD.at >= coalesce((SELECT value FROM meta WHERE name = 'pruning'), '')
        BEGIN SELECT RAISE(ABORT, 'history is only appended to'); END;
CREATE TRIGGER chain_follows BEFORE INSERT ON chain
        WHEN CASE NEW.name
            WHEN 'head' THEN (NEW.id, NEW.hash) IS NOT (SELECT id, hash FROM history ORDER BY id DESC LIMIT 1)
            WHEN 'anchor' THEN coalesce((SELECT value FROM meta WHERE name = 'pruning'), '') = ''
            ELSE 1 END
        BEGIN SELECT RAISE(ABORT, 'the chain follows history'); END;
CREATE TRIGGER chain_fixed BEFORE UPDATE ON chain
        BEGIN SELECT RAISE(ABORT, 'the chain follows history'); END;
CREATE TRIGGER chain_stays BEFORE DELETE ON chain
        BEGIN SELECT RAISE(ABORT, 'the chain follows history'); END;
COMMIT;
