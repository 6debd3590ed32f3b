// An adapter that misbehaves as its parameters say: `fault` is what it does, `at` the verb at which it does it. With `trial: true`
// it does so only in trials, and behaves while a plan asks it. Every other request it answers well.
#include "../clients/vqbench.hpp"
#include <csignal>
#include <fcntl.h>
#include <sys/stat.h>
#include <thread>
#include <unistd.h>

using vqbench::Json;

static std::string fault, at, capabilities;

// One byte per component, between -4 and 4.
class Plain : public vqbench::Quantizer {
    vqbench::Vectors base;
    std::size_t dim = 0;
    bool holds = false;

    vqbench::About about() override {
        vqbench::About about{"hostile", "1", "none", {}, {"l2"}};
        std::istringstream words(capabilities);
        for (std::string word; words >> word;) about.capabilities.push_back(word);
        if (fault == "version") about.version = std::to_string(getpid());
        if (fault == "escape") about.name = "\x1b[31mred\x1b[0m\nsecond\tline \xe2\x80\xae" "evil <b>";
        if (fault == "megabyte") about.name = std::string(900000, 'x');
        return about;
    }
    void configure(vqbench::Params& params) override {
        fault = params.text("fault", "");
        at = params.text("at", "");
        capabilities = params.text("can", "encode decode search save restore");
        params.integer("levels", 256, 2, 256);
        if (params.flag("trial", false) && !getenv("VQBENCH_TRIAL")) fault.clear();
    }
    std::size_t code_bytes(std::size_t columns) override {
        if (fault == "no-code-bytes") return 0;
        return fault == "code-bytes" ? columns + 1 : fault == "code-bytes-huge" ? std::size_t(1) << 60 : columns;
    }
    void fit(const vqbench::Vectors& rows, std::uint64_t, vqbench::Metric) override {
        dim = rows.columns;
        holds = false;
    }
    void encode(const vqbench::Vectors& rows, vqbench::Codes& codes) override {
        codes.resize(rows.rows, rows.columns);
        for (std::size_t i = 0; i < rows.values.size(); ++i)
            codes.values[i] = std::uint8_t(std::min(std::max(rows.values[i] * 32 + 128, 0.0f), 255.0f));
    }
    void decode(const vqbench::Codes& codes, vqbench::Vectors& rows) override {
        rows.resize(codes.rows, codes.columns);
        for (std::size_t i = 0; i < codes.values.size(); ++i) rows.values[i] = (float(codes.values[i]) + 0.5f - 128) / 32;
    }
    void hold_codes(vqbench::Codes codes) override { decode(codes, base); }
    void hold_base(vqbench::Vectors rows) override {
        base = std::move(rows);
        holds = true;
    }
    void search(const vqbench::Vectors& queries, vqbench::Ids& found) override {
        std::vector<float> distances(base.rows);
        for (std::size_t q = 0; q < queries.rows; ++q) {
            for (std::size_t i = 0; i < base.rows; ++i) {
                distances[i] = 0;
                for (std::size_t j = 0; j < dim; ++j) distances[i] += std::pow(base.row(i)[j] - queries.row(q)[j], 2.0f);
            }
            vqbench::nearest(distances, found.row(q), found.columns);
        }
    }
    // Seven bytes, and three for each row that it holds.
    void save(std::ostream& file) override { file << "hostile" << std::string(holds ? 3 * base.rows : 0, '.'); }
    void restore(std::istream&, vqbench::Metric) override {}
};

[[noreturn]] static void stay() {
    while (true) sleep(100);
}

// A process that stays. It may leave the group of processes, and the variables that it is known by.
static void leave_process(bool daemon, bool clean) {
    if (fork() != 0) {
        if (daemon) usleep(50000);
        return;
    }
    if (daemon) {
        setsid();
        if (fork() != 0) _exit(0);
    }
    static char* const none[] = {nullptr};
    if (clean) execle("/bin/sleep", "sleep", "1000", nullptr, none);
    execl("/bin/sleep", "sleep", "1000", nullptr);
    stay();
}

static void spin(double seconds) {
    auto begin = std::chrono::steady_clock::now();
    volatile double sum = 0;
    while (std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() < seconds) sum = sum + 1;
}

// What happens before a request is answered.
static void before(const Json& request, const vqbench::Server& server) {
    if (fault == "hang") stay();
    if (fault == "abort") std::abort();
    if (fault == "segv") raise(SIGSEGV);
    if (fault == "exit") {
        std::fputs("cannot go on\n", stderr);
        _exit(3);
    }
    if (fault == "close-input") close(0), stay();
    if (fault == "close-replies") close(std::atoi(getenv("VQBENCH_REPLY_FD"))), stay();
    if (fault == "stdout") std::cout << std::string(1 << 20, 'o') << std::endl;
    if (fault == "stderr")
        for (int i = 0; i < 20; ++i) std::cerr << std::string(1 << 20, 'e') << std::endl;
    if (fault == "child") leave_process(false, false);
    if (fault == "daemon") leave_process(true, false);
    if (fault == "clean-daemon") leave_process(true, true);
    // The child keeps the pipes open.
    if (fault == "child-exit") leave_process(false, false), _exit(3);
    if (fault == "child-exit-quietly") leave_process(false, false), _exit(0);
    if (fault == "daemon-hang") leave_process(true, false), stay();
    if (fault == "clean-daemon-hang") leave_process(true, true), stay();
    if (fault == "threads") {
        std::vector<std::thread> threads;
        for (int i = 0; i < 4; ++i) threads.emplace_back(spin, 0.6);
        for (auto& thread : threads) thread.join();
    }
    if (fault == "allocate") {
        std::vector<std::string> held;
        for (int i = 0; i < 4096; ++i) held.emplace_back(1 << 20, 'm');
    }
    if (fault == "no-input-files")
        for (const char* name : {"rows", "codes", "queries"})
            if (request.find(name)) std::remove(server.path(request.text_of(name)).c_str());
    if (fault == "no-scratch" && std::system(("rm -rf '" + server.path("") + "'").c_str()) != 0) std::exit(1);
}

static void write_array(const std::string& path, const std::string& type, bool fortran, const std::string& shape, std::size_t bytes) {
    std::ofstream file(path, std::ios::binary);
    file << vqbench::detail::npy_header(type, fortran, shape) << std::string(bytes, '\0');
}

template <typename Value>
static void change(const std::string& path, std::size_t index, Value value) {
    auto array = vqbench::detail::read_npy<Value>(path);
    array.values.at(index) = value;
    vqbench::detail::write_npy(path, array);
}

// What happens to the array that the answer is about.
static void spoil(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string whole((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    bool is_array = whole.size() > 10 && whole[0] == '\x93';
    std::string header = is_array ? whole.substr(10, std::size_t(static_cast<unsigned char>(whole[8])) + 256 * std::size_t(static_cast<unsigned char>(whole[9]))) : "";
    unsigned long long rows = 0, columns = 0;
    if (is_array) std::sscanf(vqbench::detail::after(header, "shape").c_str(), "(%llu , %llu", &rows, &columns);
    std::string type = is_array ? vqbench::detail::after(header, "descr").substr(1, 3) : "";
    std::size_t size = is_array ? std::size_t(type[2] - '0') : 0;
    auto shape = [](unsigned long long a, unsigned long long b) { return "(" + std::to_string(a) + ", " + std::to_string(b) + ")"; };
    if (fault == "rows") write_array(path, type, false, shape(rows + 1, columns), (rows + 1) * columns * size);
    if (fault == "columns") write_array(path, type, false, shape(rows, columns + 1), rows * (columns + 1) * size);
    if (fault == "type") write_array(path, "<f8", false, shape(rows, columns), rows * columns * 8);
    if (fault == "endian") write_array(path, ">" + type.substr(1), false, shape(rows, columns), rows * columns * size);
    if (fault == "fortran") write_array(path, type, true, shape(rows, columns), rows * columns * size);
    if (fault == "flat") write_array(path, type, false, "(" + std::to_string(rows * columns) + ",)", rows * columns * size);
    if (fault == "claims") write_array(path, type, false, shape(rows, columns), 0);
    if (fault == "terabytes") write_array(path, type, false, shape(1ull << 40, 1ull << 20), 64);
    if (fault == "overflow") write_array(path, type, false, shape(rows, 1ull << 63), 64);
    if (fault == "short") (void)!truncate(path.c_str(), off_t(whole.size()) - 1);
    if (fault == "text") std::ofstream(path) << "these are no numbers";
    if (fault == "empty") std::ofstream(path) << "";
    if (fault == "missing" || fault == "link" || fault == "pipe" || fault == "folder") std::remove(path.c_str());
    if (fault == "link") (void)!symlink("/etc/passwd", path.c_str());
    if (fault == "pipe") mkfifo(path.c_str(), 0600);
    if (fault == "folder") mkdir(path.c_str(), 0700);
    if (fault == "lazy" && type == "|u1") write_array(path, type, false, shape(rows, columns), rows * columns);
    if (fault == "lazy-search" && type == "<i8") {
        vqbench::Ids nothing;
        nothing.resize(rows, columns);
        std::fill(nothing.values.begin(), nothing.values.end(), -1);
        vqbench::detail::write_npy(path, nothing);
    }
    if (fault == "nan") change<float>(path, 5, std::numeric_limits<float>::quiet_NaN());
    if (fault == "infinity") change<float>(path, 5, std::numeric_limits<float>::infinity());
    if (fault == "beyond") change<std::int64_t>(path, 0, 1 << 20);
    if (fault == "huge") change<std::int64_t>(path, 0, (1ll << 32));
    if (fault == "negative") change<std::int64_t>(path, 0, -7);
    if (fault == "after-end") change<std::int64_t>(path, 0, -1);
    if (fault == "same-row") {
        auto ids = vqbench::detail::read_npy<std::int64_t>(path);
        if (ids.columns > 1) ids.values.at(1) = ids.values.at(0);
        vqbench::detail::write_npy(path, ids);
    }
}

static void for_each_lap(Json& done, double (*seconds)(double)) {
    for (auto& member : done.members) {
        if (member.first == "seconds") member.second.number = seconds(member.second.number);
        if (member.first != "timing") continue;
        for (Json& lap : member.second.list) lap.members.at(1).second = Json(seconds(lap.members.at(1).second.number));
    }
}

// What happens to the reply; false if it is not to be sent.
static bool after(Json& reply, vqbench::Server& server) {
    Json* done = nullptr;
    for (auto& member : reply.members)
        if (member.first == "ok") done = &member.second;
    if (fault == "wrong-id") reply.members.at(0).second = Json(std::uint64_t(4711));
    if (fault == "no-id") reply.members.erase(reply.members.begin());
    if (fault == "neither") reply.members.resize(1);
    if (fault == "no-object") reply.members.at(1).second = Json("done");
    if (fault == "refuses") reply = Json::object().set("id", reply.members.at(0).second).set("error", Json("I do not want to"));
    if (fault == "escape-error" || fault == "megabyte-error") {
        std::string text = fault == "escape-error" ? "\x1b[2J\x1b[31mred\nline" : std::string(900000, 'y');
        reply = Json::object().set("id", reply.members.at(0).second).set("error", Json(text));
    }
    if (done && fault == "no-timing") done->members.clear();
    if (done && fault == "protocol") done->members.at(0).second = Json(std::uint64_t(2));
    if (done && fault == "fast") for_each_lap(*done, [](double seconds) { return seconds + 1000; });
    if (done && fault == "constant") for_each_lap(*done, [](double) { return 0.002; });
    if (done && fault == "zero") for_each_lap(*done, [](double) { return 0.0; });
    if (done && fault == "backwards") for_each_lap(*done, [](double seconds) { return -seconds; });
    if (done && fault == "less") for_each_lap(*done, [](double seconds) { return seconds / 1000; });
    if (done && fault == "coarse-singles")
        for (auto& member : done->members)
            if (member.first == "singles")
                for (Json& time : member.second.list) time = Json(0.0);
    std::string line = reply.to_text() + "\n";
    if (fault == "twice") server.send_text(line);
    if (fault == "garbage") return server.send_text("Loading model... 100%\n"), false;
    if (fault == "truncated") return server.send_text(line.substr(0, line.size() / 2) + "\n"), false;
    if (fault == "no-break") return server.send_text(line.substr(0, line.size() / 2)), stay(), false;
    if (fault == "binary") return server.send_text(std::string("\xff\xfe\x00\x1b[31m", 8) + "\n"), false;
    if (fault == "long") return server.send_text(std::string(2 << 20, ' ') + line), false;
    if (fault == "endless") while (true) server.send_text(line);
    if (fault == "parts") {
        for (std::size_t i = 0; i < line.size(); i += 7) server.send_text(line.substr(i, 7)), usleep(1000);
        return false;
    }
    return true;
}

int main() {
    Plain quantizer;
    vqbench::Server server(quantizer);
    for (std::string line; std::getline(std::cin, line);) {
        Json request = Json::parse(line);
        const std::string verb = request.text_of("verb");
        // `hello` says what the fault is, so that one is answered first.
        Json reply = verb == "hello" ? server.answer(line, request) : Json();
        bool now = at == verb || (at == "timed" && request.find("timing"));
        if (now) before(request, server);
        if (verb != "hello") reply = server.answer(line, request);
        if (now && request.find("out")) spoil(server.path(request.text_of("out")));
        if (now && fault == "elsewhere") std::ofstream(server.path("elsewhere.npy")) << "more";
        if (!now || after(reply, server)) server.send(reply);
        if (verb == "bye") break;
    }
}
