// The C++ client of vqbench: with it, a quantizer in C++17 becomes a program that vqbench can measure. Copy this file; it needs
// nothing but the standard library. docs/adapters.md specifies what it speaks.
//
// Derive from vqbench::Quantizer, override what your quantizer can do, list that in about(), and call vqbench::serve in main.
#ifndef VQBENCH_HPP
#define VQBENCH_HPP

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <limits>
#include <locale>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>
#ifndef _WIN32
#include <cerrno>
#include <unistd.h>
#endif

namespace vqbench {

// What a request is answered with instead of a result. `param` names the parameter that is wrong, if one is.
struct Refused : std::runtime_error {
    explicit Refused(const std::string& message, std::string wrong = "")
        : std::runtime_error(message), param(std::move(wrong)) {}
    std::string param;
};

// A value of JSON.
struct Json {
    enum class Kind { null, boolean, number, text, list, object };
    Kind kind = Kind::null;
    bool boolean = false;
    double number = 0;
    std::uint64_t whole = 0;  // of a number that is a whole number from 0 to 2^64 - 1: exactly that
    std::string text;
    std::vector<Json> list;
    std::vector<std::pair<std::string, Json>> members;

    Json() = default;
    Json(bool value) : kind(Kind::boolean), boolean(value) {}
    Json(double value) : kind(Kind::number), number(value) {}
    Json(std::uint64_t value) : kind(Kind::number), number(double(value)), whole(value) {}
    Json(std::string value) : kind(Kind::text), text(std::move(value)) {}
    Json(const char* value) : kind(Kind::text), text(value) {}
    static Json object() {
        Json json;
        json.kind = Kind::object;
        return json;
    }
    template <typename Values>
    static Json array(const Values& values) {
        Json json;
        json.kind = Kind::list;
        for (const auto& value : values) json.list.emplace_back(value);
        return json;
    }

    // The member of that name, or null.
    const Json* find(const std::string& name) const {
        for (const auto& member : members)
            if (member.first == name) return &member.second;
        return nullptr;
    }
    Json& set(const std::string& name, Json value) {
        members.emplace_back(name, std::move(value));
        return *this;
    }
    const std::string& text_of(const std::string& name) const {
        const Json* found = find(name);
        if (!found || found->kind != Kind::text) throw Refused("the request needs the text `" + name + "`");
        return found->text;
    }
    std::uint64_t whole_of(const std::string& name) const {
        const Json* found = find(name);
        if (!found || found->kind != Kind::number || double(found->whole) != found->number)
            throw Refused("the request needs the whole number `" + name + "`");
        return found->whole;
    }
    std::string to_text() const {
        std::string out;
        write(out);
        return out;
    }

    // Reads a whole text. Throws Refused if it is no JSON.
    static Json parse(const std::string& text) {
        Reader reader{text, 0};
        Json json = reader.value(0);
        reader.blanks();
        if (reader.at != text.size()) reader.fail();
        return json;
    }

private:
    static void quote(const std::string& value, std::string& out) {
        out += '"';
        for (unsigned char c : value) {
            if (c == '"' || c == '\\') {
                out += '\\';
                out += char(c);
            } else if (c < 0x20) {
                char code[8];
                std::snprintf(code, sizeof code, "\\u%04x", c);
                out += code;
            } else {
                out += char(c);
            }
        }
        out += '"';
    }
    void write(std::string& out) const {
        switch (kind) {
        case Kind::null: out += "null"; break;
        case Kind::boolean: out += boolean ? "true" : "false"; break;
        case Kind::number:
            if (double(whole) == number) {
                out += std::to_string(whole);
            } else if (!std::isfinite(number)) {
                out += "null";
            } else {
                char digits[40];
                std::snprintf(digits, sizeof digits, "%.17g", number);
                out += digits;
            }
            break;
        case Kind::text: quote(text, out); break;
        case Kind::list:
            out += '[';
            for (std::size_t i = 0; i < list.size(); ++i) {
                if (i) out += ',';
                list[i].write(out);
            }
            out += ']';
            break;
        case Kind::object:
            out += '{';
            for (std::size_t i = 0; i < members.size(); ++i) {
                if (i) out += ',';
                quote(members[i].first, out);
                out += ':';
                members[i].second.write(out);
            }
            out += '}';
        }
    }

    struct Reader {
        const std::string& text;
        std::size_t at;

        [[noreturn]] void fail() const { throw Refused("the request is no JSON at byte " + std::to_string(at)); }
        void blanks() {
            while (at < text.size() && std::strchr(" \t\r\n", text[at])) ++at;
        }
        char peek() {
            blanks();
            if (at >= text.size()) fail();
            return text[at];
        }
        void expect(char wanted) {
            if (peek() != wanted) fail();
            ++at;
        }
        bool take(const char* word) {
            if (text.compare(at, std::strlen(word), word) != 0) return false;
            at += std::strlen(word);
            return true;
        }
        Json value(int depth) {
            if (depth > 64) fail();
            char first = peek();
            Json json;
            if (first == '{') {
                json.kind = Kind::object;
                ++at;
                for (bool more = peek() != '}'; more; more = peek() == ',' && ++at) {
                    if (peek() != '"') fail();
                    std::string name = string();
                    expect(':');
                    json.members.emplace_back(std::move(name), value(depth + 1));
                }
                expect('}');
            } else if (first == '[') {
                json.kind = Kind::list;
                ++at;
                for (bool more = peek() != ']'; more; more = peek() == ',' && ++at) json.list.push_back(value(depth + 1));
                expect(']');
            } else if (first == '"') {
                json = Json(string());
            } else if (take("true")) {
                json = Json(true);
            } else if (take("false")) {
                json = Json(false);
            } else if (!take("null")) {
                json = digits();
            }
            return json;
        }
        Json digits() {
            std::size_t begin = at;
            while (at < text.size() && std::strchr("+-.eE0123456789", text[at])) ++at;
            std::istringstream stream(text.substr(begin, at - begin));
            stream.imbue(std::locale::classic());
            Json json;
            json.kind = Kind::number;
            if (!(stream >> json.number) || stream.peek() != std::char_traits<char>::eof()) fail();
            if (text.find_first_not_of("0123456789", begin) >= at) {
                std::istringstream exact(text.substr(begin, at - begin));
                exact.imbue(std::locale::classic());
                if (!(exact >> json.whole)) json.whole = 0;
            }
            return json;
        }
        unsigned hex() {
            unsigned code = 0;
            for (int i = 0; i < 4; ++i, ++at) {
                if (at >= text.size() || !std::isxdigit(static_cast<unsigned char>(text[at]))) fail();
                char c = text[at];
                code = 16 * code + unsigned(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
            }
            return code;
        }
        std::string string() {
            std::string out;
            for (++at;; ++at) {
                if (at >= text.size() || static_cast<unsigned char>(text[at]) < 0x20) fail();
                if (text[at] == '"') break;
                if (text[at] != '\\') {
                    out += text[at];
                    continue;
                }
                if (++at >= text.size()) fail();
                static const char* const names = "\"\\/bfnrt";
                if (const char* known = std::strchr(names, text[at])) {
                    out += "\"\\/\b\f\n\r\t"[known - names];
                } else if (text[at] == 'u') {
                    ++at;
                    unsigned code = hex();
                    if (code >= 0xd800 && code < 0xdc00 && take("\\u")) code = 0x10000 + ((code - 0xd800) << 10) + (hex() - 0xdc00);
                    if (code >= 0xd800 && code < 0xe000) code = 0xfffd;
                    --at;
                    encode(code, out);
                } else {
                    fail();
                }
            }
            ++at;
            return out;
        }
        static void encode(unsigned code, std::string& out) {
            if (code < 0x80) {
                out += char(code);
                return;
            }
            int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
            out += char((0xff80 >> more & 0xff) | (code >> 6 * more & 0x3f));
            while (more-- > 0) out += char(0x80 | (code >> 6 * more & 0x3f));
        }
    };
};

// Rows of a matrix, one after the other.
template <typename Value>
struct Matrix {
    std::size_t rows = 0;
    std::size_t columns = 0;
    std::vector<Value> values;

    void resize(std::size_t new_rows, std::size_t new_columns) {
        rows = new_rows;
        columns = new_columns;
        values.resize(rows * columns);
    }
    Value* row(std::size_t i) { return values.data() + i * columns; }
    const Value* row(std::size_t i) const { return values.data() + i * columns; }
};
using Vectors = Matrix<float>;
using Codes = Matrix<std::uint8_t>;
using Ids = Matrix<std::int64_t>;

namespace detail {

template <typename Value>
const char* type_name();
template <>
inline const char* type_name<float>() { return "<f4"; }
template <>
inline const char* type_name<std::uint8_t>() { return "|u1"; }
template <>
inline const char* type_name<std::int64_t>() { return "<i8"; }

// What follows a key in the header of an array.
inline std::string after(const std::string& header, const std::string& key) {
    std::size_t at = header.find("'" + key + "'");
    at = at == std::string::npos ? at : header.find(':', at);
    if (at == std::string::npos) throw Refused("an array has no `" + key + "` in its header");
    return header.substr(header.find_first_not_of(" ", at + 1));
}

template <typename Value>
Matrix<Value> read_npy(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    char start[8];
    if (!file.read(start, 8) || std::memcmp(start, "\x93NUMPY", 6) != 0) throw Refused(path + " is no .npy file");
    unsigned char size[4] = {0, 0, 0, 0};
    file.read(reinterpret_cast<char*>(size), start[6] == 1 ? 2 : 4);
    std::string header(size[0] | size[1] << 8 | size[2] << 16, ' ');
    if (!file.read(&header[0], std::streamsize(header.size()))) throw Refused(path + " ends in its header");
    if (after(header, "descr").compare(1, 3, type_name<Value>()) != 0)
        throw Refused(path + " has values of another type than " + type_name<Value>());
    if (after(header, "fortran_order").compare(0, 5, "False") != 0) throw Refused(path + " is not in C order");
    unsigned long long rows = 0, columns = 0;
    if (std::sscanf(after(header, "shape").c_str(), "(%llu , %llu", &rows, &columns) != 2)
        throw Refused(path + " is no matrix");
    Matrix<Value> matrix;
    matrix.resize(rows, columns);
    if (!file.read(reinterpret_cast<char*>(matrix.values.data()), std::streamsize(sizeof(Value) * matrix.values.size())))
        throw Refused(path + " ends early");
    return matrix;
}

inline std::string npy_header(const std::string& type, bool fortran, const std::string& shape) {
    std::string text = "{'descr': '" + type + "', 'fortran_order': " + (fortran ? "True" : "False") + ", 'shape': " + shape + ", }";
    text.resize((10 + text.size() + 1 + 63) / 64 * 64 - 11, ' ');
    text += '\n';
    return std::string("\x93NUMPY\x01\0", 8) + char(text.size() & 0xff) + char(text.size() >> 8) + text;
}

template <typename Value>
void write_npy(const std::string& path, const Matrix<Value>& matrix) {
    std::string shape = "(" + std::to_string(matrix.rows) + ", " + std::to_string(matrix.columns) + ")";
    std::ofstream file(path, std::ios::binary);
    file << npy_header(type_name<Value>(), false, shape);
    file.write(reinterpret_cast<const char*>(matrix.values.data()), std::streamsize(sizeof(Value) * matrix.values.size()));
    if (!file.flush()) throw Refused(path + " cannot be written");
}

// How many characters must change for one word to become another.
inline std::size_t distance(const std::string& a, const std::string& b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), 0);
    for (std::size_t i = 0; i < a.size(); ++i) {
        std::size_t diagonal = row[0]++;
        for (std::size_t j = 0; j < b.size(); ++j) {
            std::size_t changed = diagonal + (a[i] != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = std::min({changed, row[j] + 1, row[j + 1] + 1});
        }
    }
    return row[b.size()];
}

}  // namespace detail

// The parameters that the user wrote. Read each that you know; what is left is refused, with the nearest known name.
class Params {
public:
    explicit Params(Json given) : given_(std::move(given)) {
        if (given_.kind != Json::Kind::object) throw Refused("`params` must be an object");
    }
    // A number from `low` to `high`, or `fallback` if it is not given.
    double number(const std::string& name, double fallback, double low, double high) {
        const Json* found = take(name);
        if (!found) return fallback;
        if (found->kind != Json::Kind::number || !(found->number >= low && found->number <= high))
            throw Refused("`" + name + "` must be a number from " + show(low) + " to " + show(high), name);
        return found->number;
    }
    std::size_t integer(const std::string& name, std::size_t fallback, std::size_t low, std::size_t high) {
        double value = number(name, double(fallback), double(low), double(high));
        if (value != std::floor(value)) throw Refused("`" + name + "` must be a whole number", name);
        return std::size_t(value);
    }
    bool flag(const std::string& name, bool fallback) {
        const Json* found = take(name);
        if (found && found->kind != Json::Kind::boolean) throw Refused("`" + name + "` must be true or false", name);
        return found ? found->boolean : fallback;
    }
    std::string text(const std::string& name, const std::string& fallback) {
        const Json* found = take(name);
        if (found && found->kind != Json::Kind::text) throw Refused("`" + name + "` must be a text", name);
        return found ? found->text : fallback;
    }
    // Refuses what nobody has read.
    void finish() const {
        for (const auto& member : given_.members) {
            if (std::find(known_.begin(), known_.end(), member.first) != known_.end()) continue;
            std::string message = "unknown parameter `" + member.first + "`";
            auto nearer = [&](const std::string& a, const std::string& b) {
                return detail::distance(member.first, a) < detail::distance(member.first, b);
            };
            auto nearest = std::min_element(known_.begin(), known_.end(), nearer);
            if (nearest == known_.end()) throw Refused(message + "; there are none", member.first);
            message += detail::distance(member.first, *nearest) <= 2 ? "; did you mean `" + *nearest + "`?" : "; known are:";
            if (message.back() == ':')
                for (const auto& name : known_) message += " `" + name + "`";
            throw Refused(message, member.first);
        }
    }

private:
    static std::string show(double value) {
        std::ostringstream out;
        out << value;
        return out.str();
    }
    const Json* take(const std::string& name) {
        known_.push_back(name);
        return given_.find(name);
    }
    Json given_;
    std::vector<std::string> known_;
};

enum class Metric { l2, ip };

// Who the quantizer is and what it can do; see `hello` in docs/adapters.md.
struct About {
    std::string name;
    std::string version;
    std::string licence;
    std::vector<std::string> capabilities;  // of encode, decode, search, search_base, save, restore
    std::vector<std::string> metrics;       // of l2, ip
    bool seedable = true;
    std::string device = "cpu";
};

// Override what your quantizer can do. Throw Refused or any std::exception to refuse a request.
class Quantizer {
public:
    virtual ~Quantizer() = default;
    virtual About about() = 0;
    // Reads the parameters. What you do not read is refused. `threads` of this object is set before.
    virtual void configure(Params& params) = 0;
    // Bytes of a code for vectors of `dim` components; 0 if it is not known before training.
    virtual std::size_t code_bytes(std::size_t dim) { return (void)dim, 0; }
    virtual void fit(const Vectors& rows, std::uint64_t seed, Metric metric) = 0;
    // `codes` has the right number of rows: call codes.resize(rows.rows, bytes), and write a code into each row.
    virtual void encode(const Vectors& rows, Codes& codes) { missing(rows, codes); }
    // Call rows.resize(codes.rows, dim), and write a vector into each row.
    virtual void decode(const Codes& codes, Vectors& rows) { missing(codes, rows); }
    // Keeps codes for the searches that follow, or vectors (the capability search_base).
    virtual void hold_codes(Codes codes) { missing(codes, codes); }
    virtual void hold_base(Vectors rows) { missing(rows, rows); }
    // Writes the k nearest rows of each query into `found`, which is filled with -1 and has k columns.
    virtual void search(const Vectors& queries, Ids& found) { missing(queries, found); }
    virtual void save(std::ostream& file) { missing(file, file); }
    virtual void restore(std::istream& file, Metric metric) { missing(file, metric); }

    std::size_t threads = 1;

private:
    template <typename A, typename B>
    [[noreturn]] static void missing(const A&, const B&) { throw Refused("this quantizer cannot do that"); }
};

// Writes the rows with the least distances into `found`, nearest first.
inline void nearest(const std::vector<float>& distances, std::int64_t* found, std::size_t k) {
    std::vector<std::int64_t> order(distances.size());
    std::iota(order.begin(), order.end(), 0);
    std::size_t count = std::min(k, order.size());
    auto nearer = [&](std::int64_t a, std::int64_t b) {
        float left = distances[std::size_t(a)], right = distances[std::size_t(b)];
        return left < right || (left == right && a < b);
    };
    std::partial_sort(order.begin(), order.begin() + std::ptrdiff_t(count), order.end(), nearer);
    std::copy_n(order.begin(), count, found);
}

// Answers requests with a quantizer.
class Server {
public:
    explicit Server(Quantizer& quantizer) : quantizer_(quantizer) {
        const char* folder = std::getenv("VQBENCH_SCRATCH");
        const char* descriptor = std::getenv("VQBENCH_REPLY_FD");
        folder_ = folder ? std::string(folder) + "/" : "";
        descriptor_ = descriptor ? std::atoi(descriptor) : 1;
    }
    // Until `bye`, or until there are no more requests.
    int run() {
        for (std::string line; std::getline(std::cin, line);) {
            Json request;
            send(answer(line, request));
            const Json* verb = request.find("verb");
            if (verb && verb->text == "bye") break;
        }
        return 0;
    }
    // The reply to a line, and the request that it holds.
    Json answer(const std::string& line, Json& request) {
        Json reply = Json::object();
        try {
            request = Json::parse(line);
            reply.set("id", Json(request.whole_of("id")));
            Json done = handle(request);
            reply.set("ok", std::move(done));
        } catch (const Refused& refused) {
            reply.set("error", Json(std::string(refused.what())));
            if (!refused.param.empty()) reply.set("param", Json(refused.param));
        } catch (const std::exception& error) {
            reply.set("error", Json(std::string(error.what())));
        }
        return reply;
    }
    void send(const Json& reply) { send_text(reply.to_text() + "\n"); }
    void send_text(const std::string& text) {
#ifndef _WIN32
        for (std::size_t done = 0; done < text.size();) {
            ssize_t count = ::write(descriptor_, text.data() + done, text.size() - done);
            if (count < 0 && errno != EINTR) std::exit(1);
            done += count > 0 ? std::size_t(count) : 0;
        }
#else
        std::fwrite(text.data(), 1, text.size(), stdout);
        std::fflush(stdout);
#endif
    }
    std::string path(const std::string& name) const { return folder_ + name; }

private:
    using Clock = std::chrono::steady_clock;

    static double since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

    // Does the work once without a clock, and then as often as the request asks for.
    template <typename Work>
    static void measure(const Json& request, Json& reply, Work work) {
        work();
        const Json* timing = request.find("timing");
        if (!timing) return;
        std::uint64_t repeats = timing->whole_of("repeats");
        const Json* least = timing->find("min_seconds");
        Json laps = Json::array(std::vector<Json>());
        for (std::uint64_t repeat = 0; repeat < repeats; ++repeat) {
            std::uint64_t rounds = 0;
            double seconds = 0;
            Clock::time_point begin = Clock::now();
            do {
                work();
                ++rounds;
                seconds = since(begin);
            } while (seconds < (least ? least->number : 0));
            laps.list.push_back(Json::object().set("rounds", Json(rounds)).set("seconds", Json(seconds)));
        }
        reply.set("timing", laps);
    }

    void time_singles(const Json& wanted, const Vectors& queries, std::size_t k, Json& reply) {
        std::uint64_t most = std::min<std::uint64_t>(wanted.whole_of("queries"), queries.rows);
        const Json* enough = wanted.find("seconds");
        Vectors query;
        query.resize(1, queries.columns);
        Ids found;
        found.resize(1, k);
        std::vector<double> times;
        std::size_t threads = quantizer_.threads;
        quantizer_.threads = 1;
        Clock::time_point begin = Clock::now();
        for (std::size_t i = 0; i < most && (i < 20 || since(begin) < (enough ? enough->number : 0)); ++i) {
            std::copy_n(queries.row(i), queries.columns, query.row(0));
            std::fill(found.values.begin(), found.values.end(), -1);
            Clock::time_point start = Clock::now();
            quantizer_.search(query, found);
            times.push_back(since(start));
        }
        quantizer_.threads = threads;
        reply.set("singles", Json::array(times));
    }

    static Metric metric_of(const Json& request) {
        return request.text_of("metric") == "ip" ? Metric::ip : Metric::l2;
    }

    Json hello(const Json& request) {
        const Json* given = request.find("params");
        Params params(given ? *given : Json::object());
        quantizer_.threads = std::max<std::uint64_t>(1, request.whole_of("threads"));
        quantizer_.configure(params);
        params.finish();
        About about = quantizer_.about();
        Json reply = Json::object();
        reply.set("protocol", Json(std::uint64_t(1))).set("name", Json(about.name)).set("version", Json(about.version));
        reply.set("licence", Json(about.licence)).set("capabilities", Json::array(about.capabilities));
        reply.set("metrics", Json::array(about.metrics)).set("seedable", Json(about.seedable)).set("device", Json(about.device));
        std::size_t bytes = request.find("dim") ? quantizer_.code_bytes(request.whole_of("dim")) : 0;
        if (bytes) reply.set("code_bytes", Json(std::uint64_t(bytes)));
        return reply;
    }

    Json handle(const Json& request) {
        const std::string& verb = request.text_of("verb");
        auto file = [&](const char* name) { return folder_ + request.text_of(name); };
        Json reply = Json::object();
        if (verb == "hello") return hello(request);
        if (verb == "fit") {
            Vectors rows = detail::read_npy<float>(file("rows"));
            Clock::time_point begin = Clock::now();
            quantizer_.fit(rows, request.whole_of("seed"), metric_of(request));
            reply.set("seconds", Json(since(begin)));
        } else if (verb == "encode") {
            Vectors rows = detail::read_npy<float>(file("rows"));
            Codes codes;
            measure(request, reply, [&] { quantizer_.encode(rows, codes); });
            detail::write_npy(file("out"), codes);
        } else if (verb == "decode") {
            Codes codes = detail::read_npy<std::uint8_t>(file("codes"));
            Vectors rows;
            measure(request, reply, [&] { quantizer_.decode(codes, rows); });
            detail::write_npy(file("out"), rows);
        } else if (verb == "search") {
            if (request.find("codes")) quantizer_.hold_codes(detail::read_npy<std::uint8_t>(file("codes")));
            if (request.find("base")) quantizer_.hold_base(detail::read_npy<float>(file("base")));
            Vectors queries = detail::read_npy<float>(file("queries"));
            std::size_t k = request.whole_of("k");
            Ids found;
            found.resize(queries.rows, k);
            measure(request, reply, [&] {
                std::fill(found.values.begin(), found.values.end(), -1);
                quantizer_.search(queries, found);
            });
            if (const Json* singles = request.find("singles")) time_singles(*singles, queries, k, reply);
            detail::write_npy(file("out"), found);
        } else if (verb == "save") {
            std::ofstream out(file("out"), std::ios::binary);
            quantizer_.save(out);
            if (!out.flush()) throw Refused(file("out") + " cannot be written");
        } else if (verb == "restore") {
            std::ifstream in(file("model"), std::ios::binary);
            in.exceptions(std::ios::badbit | std::ios::failbit);
            quantizer_.restore(in, metric_of(request));
        } else if (verb != "bye") {
            throw Refused("unknown verb `" + verb + "`");
        }
        return reply;
    }

    Quantizer& quantizer_;
    std::string folder_;
    int descriptor_;
};

// For main: answers requests until there are no more.
inline int serve(Quantizer& quantizer) { return Server(quantizer).run(); }

}  // namespace vqbench

#endif
