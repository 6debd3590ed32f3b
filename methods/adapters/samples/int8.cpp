// A sample adapter: each component in one byte, between the least and the greatest value of the training rows.
//
// Compile it with: c++ -O2 -std=c++17 -I ../clients int8.cpp -o int8
#include "vqbench.hpp"

class Int8 : public vqbench::Quantizer {
    std::size_t levels = 256;
    std::vector<float> low, step;
    vqbench::Metric metric = vqbench::Metric::l2;
    vqbench::Codes held;

    vqbench::About about() override {
        return {"int8 sample", "1.0", "MIT OR Apache-2.0", {"encode", "decode", "search", "save", "restore"}, {"l2", "ip"}};
    }
    void configure(vqbench::Params& params) override { levels = params.integer("levels", 256, 2, 256); }
    std::size_t code_bytes(std::size_t dim) override { return dim; }

    void fit(const vqbench::Vectors& rows, std::uint64_t, vqbench::Metric by) override {
        metric = by;
        low.assign(rows.columns, std::numeric_limits<float>::infinity());
        std::vector<float> high(rows.columns, -std::numeric_limits<float>::infinity());
        for (std::size_t i = 0; i < rows.rows; ++i)
            for (std::size_t j = 0; j < rows.columns; ++j) {
                low[j] = std::min(low[j], rows.row(i)[j]);
                high[j] = std::max(high[j], rows.row(i)[j]);
            }
        step.resize(rows.columns);
        for (std::size_t j = 0; j < rows.columns; ++j) step[j] = std::max((high[j] - low[j]) / float(levels - 1), 1e-20f);
    }
    void encode(const vqbench::Vectors& rows, vqbench::Codes& codes) override {
        codes.resize(rows.rows, rows.columns);
        for (std::size_t i = 0; i < rows.rows; ++i)
            for (std::size_t j = 0; j < rows.columns; ++j) {
                float level = std::round((rows.row(i)[j] - low[j]) / step[j]);
                codes.row(i)[j] = std::uint8_t(std::min(std::max(level, 0.0f), float(levels - 1)));
            }
    }
    void decode(const vqbench::Codes& codes, vqbench::Vectors& rows) override {
        rows.resize(codes.rows, codes.columns);
        for (std::size_t i = 0; i < codes.rows; ++i)
            for (std::size_t j = 0; j < codes.columns; ++j) rows.row(i)[j] = low[j] + step[j] * float(codes.row(i)[j]);
    }

    void hold_codes(vqbench::Codes codes) override { held = std::move(codes); }
    void search(const vqbench::Vectors& queries, vqbench::Ids& found) override {
        std::vector<float> distances(held.rows);
        for (std::size_t q = 0; q < queries.rows; ++q) {
            for (std::size_t i = 0; i < held.rows; ++i) {
                float sum = 0;
                for (std::size_t j = 0; j < queries.columns; ++j) {
                    float value = low[j] + step[j] * float(held.row(i)[j]), query = queries.row(q)[j];
                    sum += metric == vqbench::Metric::ip ? -query * value : (query - value) * (query - value);
                }
                distances[i] = sum;
            }
            vqbench::nearest(distances, found.row(q), found.columns);
        }
    }

    void save(std::ostream& file) override {
        file << low.size() << ' ';
        for (const auto* values : {&low, &step})
            file.write(reinterpret_cast<const char*>(values->data()), std::streamsize(4 * values->size()));
    }
    void restore(std::istream& file, vqbench::Metric by) override {
        std::size_t dim = 0;
        file >> dim;
        file.get();
        if (dim > 1 << 20) throw vqbench::Refused("this model has too many components");
        metric = by;
        for (auto* values : {&low, &step}) {
            values->resize(dim);
            file.read(reinterpret_cast<char*>(values->data()), std::streamsize(4 * dim));
        }
    }
};

int main() {
    Int8 quantizer;
    return vqbench::serve(quantizer);
}
